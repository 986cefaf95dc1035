"""A second scorer, written from the definitions and without dependencies: what every number of a record must be.

It imports nothing but Python's standard library, sorts nothing where pairs can be counted, and shares no line with
`dfad_bench`. `second_scores.py` holds the scorer of records against it on random predictions.

A row is a mapping with `sample_id`, `group`, `source_key`, `p` (a list of class probabilities), `p_fake`, and `video`
(None for a still image). A group is a mapping with `key`, `label` (-1: unseen), `fake`, `processed`, `in_average`,
`family` and `forgery` ("none" where not known), in the protocol's order, seen ones first by label.

`score` gives {(task, metric, subset, averaging, threshold or None): (value or None, faces)}.
"""

from __future__ import annotations

import hashlib
from math import sqrt

SWEEP = [round(0.05 * step, 2) for step in range(1, 20)] + [0.97, 0.99]
TIE = 1e-9  # squared distances nearer than this are equal


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else None


def mean_of_all(values):
    """None where one of them is not defined, or there is none."""
    values = list(values)
    return None if None in values else mean(values)


def argmax(p):
    return p.index(max(p))


# --- metrics of two classes: lists of scores of positives and of negatives


def area(positives, negatives):
    """P(positive above negative), ties a half, by counting all pairs."""
    if not positives or not negatives:
        return None
    won = sum((a > b) + 0.5 * (a == b) for a in positives for b in negatives)
    return won / (len(positives) * len(negatives))


def at_95(positives, negatives):
    """Share of negatives at or above the highest threshold that 95 % of the positives reach."""
    if not positives or not negatives:
        return None
    for threshold in sorted(set(positives), reverse=True):
        if 100 * sum(score >= threshold for score in positives) >= 95 * len(positives):
            return mean(score >= threshold for score in negatives)
    raise AssertionError("the lowest score is reached by all")


def average_precision(positives, negatives):
    if not positives:
        return None
    total, before = 0.0, 0
    for threshold in sorted({*positives, *negatives}, reverse=True):
        hits = sum(score >= threshold for score in positives)
        false = sum(score >= threshold for score in negatives)
        total += (hits - before) / len(positives) * hits / (hits + false)
        before = hits
    return total


def equal_error(positives, negatives):
    """Where the ROC curve, linear between its points, meets FPR = 1 - TPR."""
    if not positives or not negatives:
        return None
    last = (0.0, 0.0)
    for threshold in sorted({*positives, *negatives}, reverse=True):
        fpr = mean(score >= threshold for score in negatives)
        tpr = mean(score >= threshold for score in positives)
        if fpr + tpr >= 1:
            before, after = last[0] + last[1] - 1, fpr + tpr - 1
            share = -before / (after - before)
            return last[0] + share * (fpr - last[0])
        last = (fpr, tpr)
    raise AssertionError("the curve ends at (1, 1)")


def calibration(fakes, reals, bins=15):
    """Mean over faces of |mean p_fake - share of fakes| of their bin."""
    scores = [(p, 1) for p in fakes] + [(p, 0) for p in reals]
    if not scores:
        return None
    gaps = [0.0] * bins
    for p, label in scores:
        gaps[min(int(p * bins), bins - 1)] += p - label
    return sum(map(abs, gaps)) / len(scores)


# --- the numbers of a set of rows


class Faces:
    """Rows and groups; `suffix` is put behind the names of sets and groups."""

    def __init__(self, rows, groups, thresholds, seed, suffix=""):
        self.rows, self.thresholds, self.seed, self.suffix = rows, thresholds, seed, suffix
        self.by_key = {g["key"]: [r for r in rows if r["group"] == g["key"]] for g in groups}
        self.groups = [g for g in groups if self.by_key[g["key"]]]
        self.every_group = groups
        self.numbers = {}
        present = [g for g in self.groups if not g["processed"]]
        self.label = {g["key"]: g["label"] for g in groups}
        self.fake = {g["key"]: g["fake"] for g in groups}
        self.seen = [g["key"] for g in self.groups if g["label"] >= 0]
        self.unseen = [g["key"] for g in present if g["label"] < 0]
        self.averaged = [g["key"] for g in present if g["label"] < 0 and g["in_average"]]
        self.processed = [g["key"] for g in self.groups if g["label"] < 0 and g["processed"]]

    def of(self, keys):
        return [row for key in keys for row in self.by_key[key]]

    def put(self, task, metric, subset, averaging, value, faces, threshold=None):
        self.numbers[task, metric, subset, averaging, threshold] = (value, faces)

    def right(self, row):
        return argmax(row["p"]) == self.label[row["group"]]

    def nearness(self):
        """Near and far sets of unseen forged groups, by family, forgery, or either."""
        seen = [g for g in self.every_group if g["label"] >= 0 and g["fake"]]
        known = {name: {g[name] for g in seen} - {"none"} for name in ("family", "forgery")}
        sets = {f"{side}{kind}": [] for kind in ("", "-family", "-forgery") for side in ("near", "far")}
        for g in self.every_group:
            if g["key"] not in self.averaged or not g["fake"]:
                continue
            is_near = {name: None if g[name] == "none" else g[name] in known[name] for name in known}
            either = True if True in is_near.values() else False if None not in is_near.values() else None
            for kind, near in (("", either), ("-family", is_near["family"]), ("-forgery", is_near["forgery"])):
                if near is not None:
                    sets[("near" if near else "far") + kind].append(g["key"])
        return sets

    def attribution(self):
        suffix, task, sets = self.suffix, "attribution", {"unseen": self.averaged, **self.nearness()}
        shares = {key: mean(self.right(row) for row in self.by_key[key]) for key in self.seen}
        for key, share in shares.items():
            self.put(task, "seen_accuracy", key + suffix, "none", share, len(self.by_key[key]))
        self.put(task, "seen_accuracy", "seen" + suffix, "macro", mean_of_all(shares.values()), len(self.of(self.seen)))
        for t in self.thresholds:
            below = {key: mean(max(row["p"]) < t for row in self.by_key[key]) for key in self.unseen}
            for key, share in below.items():
                self.put(task, "unseen_accuracy", key + suffix, "none", share, len(self.by_key[key]), t)
            for name, keys in sets.items():
                value = mean_of_all(below[key] for key in keys)
                self.put(task, "unseen_accuracy", name + suffix, "macro", value, len(self.of(keys)), t)
        for name, keys in sets.items():
            self.ranking(name, keys)
        self.retrieval("unseen", self.averaged)
        self.retrieval("all", [*self.seen, *self.averaged])
        return self

    def ranking(self, name, keys):
        inside = self.of(self.seen)

        def numbers(outside):
            seen, unseen = ([max(row["p"]) for row in rows] for rows in (inside, outside))
            named = [max(row["p"]) for row in inside if self.right(row)]
            both = bool(inside and outside)
            share = (area(named, unseen) or 0.0) * len(named) / len(seen) if both else None
            turned = [[-score for score in scores] for scores in (unseen, seen)]
            of_95 = (at_95(seen, unseen), at_95(*turned)) if both else (None, None)
            return {"auroc": area(seen, unseen), "oscr": share, "fpr95": of_95[0], "fpr95_openood": of_95[1]}

        task, suffix, size = "attribution", self.suffix, len(inside) + len(self.of(keys))
        pooled, parts = numbers(self.of(keys)), {key: numbers(self.by_key[key]) for key in keys}
        for metric, value in pooled.items():
            if name != "unseen" and metric != "auroc":
                continue
            self.put(task, metric, f"seen-vs-{name}{suffix}", "micro", value, size)
            if metric in ("auroc", "oscr"):
                over = mean_of_all(part[metric] for part in parts.values())
                self.put(task, metric, f"seen-vs-{name}{suffix}", "macro", over, size)
                for key in keys if name == "unseen" else ():
                    faces = len(inside) + len(self.by_key[key])
                    self.put(task, metric, f"seen-vs-{key}{suffix}", "none", parts[key][metric], faces)

    def registered(self, row):
        digest = hashlib.sha256(f"{self.seed}:retrieval:{row['source_key']}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48 < 0.5

    def retrieval(self, name, keys):
        """The nearest mean of registered probabilities, by Hellinger's distance; ties share the hit."""
        halves = {key: ([], []) for key in keys}
        for row in self.of(keys):
            halves[row["group"]][not self.registered(row)].append(row["p"])
        usable = {key: half for key, half in halves.items() if half[0] and half[1]}
        means = {key: [mean(column) for column in zip(*known, strict=True)] for key, (known, _) in usable.items()}

        def hit(p, own):
            away = {key: sum((sqrt(a) - sqrt(b)) ** 2 for a, b in zip(p, m, strict=True)) for key, m in means.items()}
            near = [key for key, d in away.items() if d <= min(away.values()) + TIE]
            return (own in near) / len(near)

        shares = [mean(hit(p, key) for p in queries) for key, (_, queries) in usable.items()]
        value = mean_of_all(shares) if len(usable) >= 2 else None
        faces = sum(len(queries) for _, queries in usable.values())
        self.put("attribution", "prototype_retrieval", name + self.suffix, "macro", value, faces)

    def detection(self):
        for name, keys in (("unseen", self.unseen), ("seen", self.seen)):
            fakes = [key for key in keys if self.fake[key]]
            reals = [key for key in keys if not self.fake[key]] or [key for key in self.seen if not self.fake[key]]
            self.detection_set(name, fakes, reals)
        alarms = {key: mean(row["p_fake"] > 0.5 for row in self.by_key[key]) for key in self.processed}
        rows, task, suffix = self.of(self.processed), "detection", self.suffix
        pooled = mean(row["p_fake"] > 0.5 for row in rows)
        self.put(task, "false_alarms", "processed" + suffix, "micro", pooled, len(rows))
        for key, share in alarms.items():
            self.put(task, "false_alarms", key + suffix, "none", share, len(self.by_key[key]))
        self.put(task, "false_alarms", "processed" + suffix, "macro", mean_of_all(alarms.values()), len(rows))
        return self

    def detection_set(self, name, fakes, reals):
        forged, real = ([row["p_fake"] for row in self.of(keys)] for keys in (fakes, reals))
        tpr, tnr = mean(p > 0.5 for p in forged), mean(p <= 0.5 for p in real)
        both, size = bool(forged and real), len(forged) + len(real)
        pooled = {
            "accuracy": (sum(p > 0.5 for p in forged) + sum(p <= 0.5 for p in real)) / size if both else None,
            "balanced_accuracy": (tpr + tnr) / 2 if both else None,
            "tpr": tpr,
            "tnr": tnr,
            "auc": area(forged, real),
            "ap": average_precision(forged, real) if both else None,
            "eer": equal_error(forged, real),
            "ece": calibration(forged, real) if both else None,
        }
        for metric, value in pooled.items():
            self.put("detection", metric, name + self.suffix, "micro", value, size)
        parts = {key: area([row["p_fake"] for row in self.by_key[key]], real) for key in fakes}
        for key, value in parts.items():
            self.put("detection", "auc", key + self.suffix, "none", value, len(self.by_key[key]) + len(real))
        self.put("detection", "auc", name + self.suffix, "macro", mean_of_all(parts.values()), size)


def videos(rows):
    """One row a video of a group, the mean of its frames; None where no video has two frames."""
    found = {}
    for row in rows:
        name = row["video"] if row["video"] is not None else "/" + row["sample_id"]
        found.setdefault((row["group"], name), []).append(row)
    if all(len(frames) == 1 for frames in found.values()):
        return None
    return [
        {
            **frames[0],
            "source_key": min(row["source_key"] for row in frames),
            "p": [mean(column) for column in zip(*(row["p"] for row in frames), strict=True)],
            "p_fake": mean(row["p_fake"] for row in frames),
        }
        for frames in found.values()
    ]


def score(rows, groups, thresholds, seed):
    """Every number, by what it is called."""
    numbers = Faces(rows, groups, thresholds, seed).attribution().detection().numbers
    merged = videos(rows)
    if merged is not None:
        numbers |= Faces(merged, groups, thresholds, seed, "-videos").attribution().detection().numbers
    return numbers


def sweep(rows, groups, thresholds):
    """{threshold: (unseen below, seen kept, seen kept and right)}, means over groups."""
    faces = Faces(rows, groups, thresholds, 0)
    found = {}
    for t in sorted({*SWEEP, *thresholds}):
        below = [mean(max(r["p"]) < t for r in faces.by_key[key]) for key in faces.averaged]
        kept = [mean(max(r["p"]) >= t for r in faces.by_key[key]) for key in faces.seen]
        right = [mean(max(r["p"]) >= t and faces.right(r) for r in faces.by_key[key]) for key in faces.seen]
        found[t] = (mean(below), mean(kept), mean(right))
    return found


def counts(rows, groups, thresholds):
    """{group: (faces, {threshold: below}, right or None, tp, fp, fn, tn, faces named as each class)}."""
    faces, found = Faces(rows, groups, thresholds, 0), {}
    classes = sum(g["label"] >= 0 for g in groups)
    for g in faces.groups:
        mine = faces.by_key[g["key"]]
        called = sum(r["p_fake"] > 0.5 for r in mine)
        table = (called, 0, len(mine) - called, 0) if g["fake"] else (0, called, 0, len(mine) - called)
        below = {t: sum(max(r["p"]) < t for r in mine) for t in thresholds}
        right = sum(map(faces.right, mine)) if g["label"] >= 0 else None
        named = tuple(sum(argmax(r["p"]) == k for r in mine) for k in range(classes))
        found[g["key"]] = (len(mine), below, right, *table, named)
    return found
