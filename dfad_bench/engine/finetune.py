"""A run that starts from the weights of another one: which tensors fit, what becomes of the classes, what is stated.

Rows of a tensor that belong to classes go to the classes of the same name; those of other classes start as in a new
model. Everything else must fit. Which tensors have rows of classes is found by building the model for one class more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from dfad_bench.core.contract import DFADModel
from dfad_bench.core.errors import ConfigError, WeightsError, listed
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_folder import RunFolder, SeedsFolder
from dfad_bench.core.taxonomy import REAL_KEY
from dfad_bench.core.weights import other_kinds
from dfad_bench.data.pools import sources_of
from dfad_bench.data.prompts import class_prompts
from dfad_bench.data.select import Selection
from dfad_bench.engine import checkpoint
from dfad_bench.engine.config import RunConfig, read_config
from dfad_bench.engine.load import trained_faces, trained_protocol
from dfad_bench.engine.needs import shapes_of


@dataclass(frozen=True)
class Parent:
    """A finished run whose weights another one starts from."""

    files: RunFolder
    config: RunConfig
    protocol: Protocol

    def init(self, protocol: Protocol) -> dict[str, Any]:
        """What the settings of a run under `protocol` say of this one; hashes and names, no places."""
        facts, trained = read_facts(self.files.facts), sorted(self.trained_on)
        return {
            "kind": "run",
            "run_id": self.config.sha256[:16],
            "config_sha256": self.config.sha256,
            "sha256": str(checkpoint.read_finished(self.files.checkpoint.path)["sha256"]),
            "seed": self.config.seed,
            "status": facts["status"],
            "steps": facts["run"]["steps"],
            "protocol": self.protocol.name,
            "protocol_sha256": self.protocol.sha256,
            "manifests": dict(self.config.manifests),
            "heads": self.config.heads,
            "trained_on": trained,
            "unseen_trained_on": unseen_trained_on({"trained_on": trained}, protocol),
            "init": self.config.init,
        }

    @property
    def trained_on(self) -> set[str]:
        """Generators of forged faces that this run, and those it started from, were trained on."""
        groups = (*self.protocol.seen, *self.protocol.unlabelled)
        own = {group.generator for group in groups} - {REAL_KEY}
        return own | _trained_on(self.config.init)

    def warnings(self, selection: Selection, config: RunConfig) -> list[str]:
        """A line where test faces were trained on before, and one where the new run has other prompts."""
        count, run = self.tested_faces(selection), self.files.path
        lines = [f"{count} test faces share a source or pixels with faces {run} was trained on"] if count else []
        if config.prompts != self.config.prompts:
            names = [each.templates.name for each in (self.config, config)]
            lines.append(f"{run} was trained with prompts {names[0]}, this run is with {names[1]} (--prompts)")
        return lines

    def tested_faces(self, selection: Selection) -> int:
        """How many test faces share a source or their pixels with a face this run was trained on."""
        keys, pixels = trained_faces(self.files)
        tested = selection.tested
        return int((sources_of(tested).isin(keys) | tested["crop_sha256"].isin(pixels)).sum())

    def leakage(self, protocol: Protocol, selection: Selection) -> dict[str, int | None]:
        """Counts for the record's `leakage`."""
        return {
            "parent_trained_unseen_generators": len(unseen_trained_on({"trained_on": self.trained_on}, protocol)),
            "parent_trained_test_faces": self.tested_faces(selection),
        }


def _trained_on(init: Mapping[str, Any]) -> set[str]:
    return {str(name) for name in init.get("trained_on") or ()}


def unseen_trained_on(init: Mapping[str, Any], protocol: Protocol) -> list[str]:
    """Unseen generators of a protocol that a model was trained on before its own run, by what it started from."""
    return sorted({group.generator for group in protocol.unseen} & _trained_on(init))


def unseen_warnings(init: Mapping[str, Any], protocol: Protocol) -> list[str]:
    """A line where unseen generators were trained on before."""
    words = f"were trained on by the run this one started from, and are unseen in protocol {protocol.name}: their"
    names = unseen_trained_on(init, protocol)
    return [f"{', '.join(names)} {words} numbers are not of unseen generators"] if names else []


def open_parent(run: Path, model: str, size: str, seed: int) -> Parent:
    """The run to start from; of a folder of several seeds, the one of this seed.

    Args:
        run: its folder.
        model: of the new run.
        size: of the new run.
        seed: of the new run.

    Raises:
        ConfigError: not a finished run, or one of another model or size.
    """
    files, one = RunFolder(run), RunFolder(SeedsFolder(run).run(seed))
    files = one if one.config.is_file() and not files.config.is_file() else files
    config = read_config(files.path)
    for name, value in (("model", model), ("size", size)):
        if (theirs := getattr(config, name)) != value:
            raise ConfigError(f"--finetune-from {run}: its {name} is {theirs}, this run's is {value}; use the same")
    return Parent(files, config, trained_protocol(files))


def start_from(model: DFADModel, parent: Parent, config: RunConfig, protocol: Protocol) -> list[str]:
    """Put a run's weights into a new model, in place; gives a line where classes differ.

    Raises:
        IntegrityError: the run's weights are not what was written.
        WeightsError: a tensor without rows of classes does not fit.
    """
    theirs, mine = checkpoint.load_finished(parent.files.checkpoint.path), model.state_dict()
    pairs = same_classes(parent.protocol, protocol)
    count = parent.protocol.num_generators
    if pairs == [(label, label) for label in range(max(count, protocol.num_generators))]:
        model.load_state_dict(_fitting_rows(theirs, mine, parent, config))
        return []
    rows = class_rows(config, protocol)
    new = {name: value.clone() for name, value in mine.items()}
    new |= _fitting_rows(theirs, {name: value for name, value in mine.items() if not rows.has(name)}, parent, config)
    fresh = [*rows.otherwise, *(name for name in rows.axes if not rows.copy_axis(name, theirs, new, pairs, count))]
    fresh += [template for template in rows.families if not rows.copy_family(template, theirs, new, pairs)]
    model.load_state_dict(new)
    return [_line(parent, protocol, pairs, fresh)]


def same_classes(theirs: Protocol, mine: Protocol) -> list[tuple[int, int]]:
    """(class of one protocol, the same class of another): of the same group, or else the only ones of a generator."""
    pairs = []
    for group in sorted(mine.seen, key=lambda group: group.label):
        same = [other.label for other in theirs.seen if other.key == group.key]
        same = same or [other.label for other in theirs.seen if other.generator == group.generator]
        pairs += [(same[0], group.label)] if len(same) == 1 else []
    return pairs


@dataclass
class ClassRows:
    """Which tensors of a model have something for each class, and where.

    `axes`: tensors with one entry a class along an axis; `families`: names such as `heads.{}.weight`, a tensor a class;
    `otherwise`: tensors whose shape goes by the number of classes in another way.
    """

    classes: int
    axes: dict[str, int] = field(default_factory=dict)
    families: list[str] = field(default_factory=list)
    otherwise: list[str] = field(default_factory=list)

    def has(self, name: str) -> bool:
        """Whether a tensor has to do with classes."""
        members = (template.format(label) for template in self.families for label in range(self.classes))
        return name in self.axes or name in self.otherwise or name in members

    def copy_axis(
        self, name: str, theirs: Mapping[str, Tensor], new: Mapping[str, Tensor], pairs: Pairs, count: int
    ) -> bool:
        """Copy the entries of the same classes; False where the other model's tensor is of another form."""
        axis, value = self.axes[name], theirs.get(name)
        shape = list(new[name].shape)
        shape[axis] = count
        if value is None or list(value.shape) != shape:
            return False
        for one, other in pairs:
            new[name].select(axis, other).copy_(value.select(axis, one))
        return True

    def copy_family(self, template: str, theirs: Mapping[str, Tensor], new: dict[str, Tensor], pairs: Pairs) -> bool:
        """Copy the tensors of the same classes; False where the other model's are of another form."""
        named = [(theirs.get(template.format(one)), template.format(other)) for one, other in pairs]
        if any(value is None or value.shape != new[name].shape for value, name in named):
            return False
        new.update({name: value.clone() for value, name in named if value is not None})
        return True


Pairs = Sequence[tuple[int, int]]


def class_rows(config: RunConfig, protocol: Protocol) -> ClassRows:
    """Which tensors have something for each class, from the shapes of the model with one class more."""
    count, prompts = protocol.num_generators, class_prompts(protocol, config.templates)
    few = shapes_of(config.model, count, config.size, config.options, prompts)
    more = shapes_of(config.model, count + 1, config.size, config.options, (*prompts, prompts[-1]))
    found = ClassRows(count)
    for name, shape in few.items():
        if name not in more:
            found.otherwise.append(name)
        elif shape != more[name]:
            differ = [axis for axis, (a, b) in enumerate(zip(shape, more[name], strict=False)) if a != b]
            one = len(shape) == len(more[name]) and [(shape[a], more[name][a]) for a in differ] == [(count, count + 1)]
            found.axes.update({name: differ[0]} if one else {})
            found.otherwise += [] if one else [name]
    for name in more.keys() - few.keys():
        parts = name.split(".")
        for place in (k for k, part in enumerate(parts) if part == str(count)):
            template = ".".join([*parts[:place], "{}", *parts[place + 1 :]])
            if all(template.format(label) in few for label in range(count)):
                found.families.append(template)
    found.families.sort()
    return found


def _fitting_rows(
    theirs: Mapping[str, Tensor], mine: Mapping[str, Tensor], parent: Parent, config: RunConfig
) -> dict[str, Tensor]:
    """The other model's tensors of these names.

    Raises:
        WeightsError: one is not there, of another shape, or of complex numbers or integers.
    """
    for name, value in mine.items():
        if name not in theirs or theirs[name].shape != value.shape:
            there = f"is {tuple(theirs[name].shape)}" if name in theirs else "is not"
            advice = f"; its options are {dict(parent.config.options)}, here {dict(config.options)} (--set)"
            raise WeightsError(
                f"--finetune-from {parent.files.path}: {name} {there} there and {tuple(value.shape)} here"
                + (advice if parent.config.options != config.options else "")
            )
    loaded = {name: theirs[name] for name in mine}
    if kinds := other_kinds(loaded, mine):
        raise WeightsError(f"--finetune-from {parent.files.path}: {listed(kinds, 3)}")
    return loaded


def _line(parent: Parent, protocol: Protocol, pairs: Pairs, fresh: Sequence[str]) -> str:
    """What became of the classes, in one line."""
    mine = {group.label: group.generator for group in protocol.seen}
    theirs = {group.label: group.generator for group in parent.protocol.seen}
    kept, dropped = [mine[label] for _, label in pairs], set(theirs) - {label for label, _ in pairs}
    new = [name for label, name in sorted(mine.items()) if label not in {other for _, other in pairs}]
    parts = [f"{what} {', '.join(names)}" for what, names in (("new", new), ("kept", kept)) if names]
    parts += [f"left behind {', '.join(theirs[label] for label in sorted(dropped))}"] if dropped else []
    parts += [f"fresh for all classes {', '.join(fresh)}"] if fresh else []
    return f"attribution classes of {parent.files.path} by name: {'; '.join(parts)}"
