"""A forward pass watched from outside: the output of each module, and every attention, however it is computed.

Attention is read where torch computes it (`nn.MultiheadAttention`, fused attention, a softmax over four dimensions),
so models need no code of their own. While one is watched, fused attention is computed step by step, which changes
results by rounding only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from dfad_bench.core.batch import Inputs, Output, ViewValue

_SOFTMAX = (F.softmax, torch.softmax, torch.Tensor.softmax)
_MULTI_HEAD = inspect.signature(F.multi_head_attention_forward)


@dataclass(frozen=True)
class ModuleOutput:
    """A tensor (B, C, h, w), or (B, N, d) of a normalisation layer, that a module gave.

    `names` are those of `named_modules`, the outermost last, where several gave the same tensor: nested ones, or one
    whose result a later one changed in its place.
    """

    names: tuple[str, ...]
    value: Tensor

    @property
    def name(self) -> str:
        """The outermost module's."""
        return self.names[-1]


@dataclass(frozen=True)
class AttentionWeights:
    """One attention: `weights` (B, heads, q, k), rows of sum 1, and the module it was computed in.

    `rows` is what the attention passed on; along its dimension `row_dim`, row i follows from query i alone.
    """

    module: str
    weights: Tensor
    rows: Tensor
    row_dim: int


@dataclass(frozen=True)
class WatchedPass:
    """Images (B, 3, H, W) that a model read, its output, and what happened between, in the order of computation."""

    images: Tensor
    output: Output
    modules: tuple[ModuleOutput, ...]
    attentions: tuple[AttentionWeights, ...]


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode with gradients of everything; afterwards modes, gradients and random numbers are as they were."""
    modes = [(module, module.training) for module in model.modules()]
    learning = [(each, each.requires_grad) for each in model.parameters()]
    devices = range(torch.cuda.device_count())
    try:
        with torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad():
            model.eval()
            for each, _ in learning:
                if each.is_floating_point() and not each.is_inference():
                    each.requires_grad_(True)  # a frozen network passes gradients on as any other
            yield
    finally:
        for module, training in modes:
            module.training = training
        for each, learns in learning:
            each.requires_grad_(learns)


def watch(model: nn.Module, inputs: Inputs) -> WatchedPass:
    """Run `model` on `inputs`; call it within `undisturbed`, which keeps the graph for gradients.

    All hooks are removed when it returns or fails.
    """
    images = inputs.images.detach().clone().requires_grad_(True)
    views: dict[str, ViewValue] = {
        name: view.detach().clone() if isinstance(view, Tensor) else view for name, view in inputs.views.items()
    }
    present = {name: mask.detach().clone() for name, mask in inputs.present.items()}
    hooks = _Hooks(model)
    reader = _AttentionReader(lambda: hooks.running[-1] if hooks.running else "")
    with ExitStack() as stack:
        for handle in hooks.handles:
            stack.callback(handle.remove)
        stack.enter_context(torch.autocast(images.device.type, enabled=False))
        stack.enter_context(reader)
        output = model(Inputs(images, views, present))
    return WatchedPass(images, output, tuple(hooks.outputs), tuple(reader.attentions))


class _Hooks:
    """Hooks on every module: which one is running, and what each gave."""

    def __init__(self, model: nn.Module) -> None:
        self.running: list[str] = []
        self.outputs: list[ModuleOutput] = []
        self.handles: list[Any] = []
        for name, module in model.named_modules():
            self.handles.append(module.register_forward_pre_hook(self._start(name)))
            self.handles.append(module.register_forward_hook(self._end(name, "norm" in type(module).__name__.lower())))

    def _start(self, name: str) -> Callable[..., None]:
        def start(module: nn.Module, arguments: Any) -> None:
            self.running.append(name)

        return start

    def _end(self, name: str, normalises: bool) -> Callable[..., None]:
        def end(module: nn.Module, arguments: Any, result: Any) -> None:
            self.running.pop()
            if not isinstance(result, Tensor) or not result.is_floating_point() or isinstance(module, nn.Identity):
                return
            for place, each in enumerate(self.outputs):
                if each.value is result:
                    self.outputs[place] = ModuleOutput((*each.names, name), result)
                    return
            if result.ndim == 4 or (result.ndim == 3 and normalises):
                self.outputs.append(ModuleOutput((name,), result))

        return end


class _AttentionReader(TorchFunctionMode):
    """Keeps the weights of every attention that is computed while it is entered."""

    def __init__(self, running: Callable[[], str]) -> None:
        super().__init__()
        self.running = running
        self.attentions: list[AttentionWeights] = []

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in place of each of its functions."""
        kwargs = kwargs or {}
        if function is torch._C._set_grad_enabled:  # a model that wraps its frozen part in `no_grad` hides nothing
            return None
        if function is F.multi_head_attention_forward:
            return self._multi_head(_MULTI_HEAD.bind(*args, **kwargs))
        if function is F.scaled_dot_product_attention and (explicit := _explicit(*args, **kwargs)) is not None:
            weights, values = explicit
            result = weights @ values
            self._keep(weights, result, 2)
            return result
        result = function(*args, **kwargs)
        if function in _SOFTMAX and result.ndim == 4:
            self._keep(result, result, 2)
        return result

    def _multi_head(self, call: inspect.BoundArguments) -> tuple[Tensor, Tensor | None]:
        call.apply_defaults()
        wanted, averaged = call.arguments["need_weights"], call.arguments["average_attn_weights"]
        call.arguments.update(need_weights=True, average_attn_weights=False)
        result, weights = F.multi_head_attention_forward(*call.args, **call.kwargs)  # (q, B, d), (B, heads, q, k)
        assert weights is not None  # asked for
        if weights.ndim == 4:
            self._keep(weights, result, 0)
        if not wanted:
            return result, None
        return result, weights.mean(dim=-3) if averaged else weights

    def _keep(self, weights: Tensor, rows: Tensor, row_dim: int) -> None:
        self.attentions.append(AttentionWeights(self.running(), weights.detach(), rows, row_dim))


def _explicit(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Tensor, Tensor] | None:
    """Weights (B, heads, q, k) and values of an attention; None where it is of another form, and left as it is."""
    if query.ndim != 4 or dropout_p or enable_gqa:
        return None
    logits = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        logits = logits.masked_fill(~attn_mask, float("-inf"))
    elif attn_mask is not None:
        logits = logits + attn_mask
    return logits.softmax(dim=-1), value
