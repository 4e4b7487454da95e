# SPDX-License-Identifier: Apache-2.0
"""Figures of a run: kept by round, saved as JSON, and what is computed from them. Runs nothing, prints nothing.

A figure is one metric of one workload, at one number of entries where several are measured. For each system it holds
one value a round, None where there was none, so that the same place in two lists is the same round: ratios are
computed within a round, where both systems met the same state of the machine.

Two figures differ beyond their spread when the ranges from least to most do not overlap.
"""

import json
import statistics

from workloads import percentile_of, unit_of

FORMAT = 2
OWN = ("simdrive", "simdrive-map")
RUST = "rust"


def present(values):
    return [value for value in values if value is not None]


def median(values):
    """Of what is there; None of nothing."""
    there = present(values)
    return statistics.median(there) if there else None


def ratios(ours, theirs, more_is_better):
    """How many times better ours is, round by round."""
    pairs = [(a, b) for a, b in zip(ours, theirs) if a is not None and b is not None and a > 0 and b > 0]
    return [a / b if more_is_better else b / a for a, b in pairs]


def overlap(some, others):
    return min(some) <= max(others) and min(others) <= max(some)


class Figure:
    def __init__(self, workload, metric, unit, entries=None, values=None):
        self.workload = workload
        self.metric = metric
        self.unit = unit
        self.entries = entries
        self.values = values if values is not None else {}

    @property
    def key(self):
        return (self.workload, self.metric, self.entries)

    @property
    def more_is_better(self):
        return unit_of(self.unit).more_is_better

    def add(self, system, round_number, value):
        values = self.values.setdefault(system, [])
        values.extend([None] * (round_number + 1 - len(values)))
        values[round_number] = value

    def of(self, system):
        return self.values.get(system, [])

    def median(self, system):
        return median(self.of(system))

    def best(self, systems):
        """The system with the best median among these, or None."""
        there = [system for system in systems if self.median(system) is not None]
        choose = max if self.more_is_better else min
        return choose(there, key=self.median) if there else None

    def ratios(self, ours, theirs):
        return ratios(self.of(ours), self.of(theirs), self.more_is_better)

    def is_latency(self):
        return percentile_of(self.metric) is not None


class Results:
    """Everything that a run leaves. `about` describes machine, settings and way of measuring."""

    def __init__(self, about=None):
        self.about = about if about is not None else {}
        self.failures = []
        self._figures = {}

    def figure(self, workload, metric, entries=None):
        return self._figures.get((workload, metric, entries))

    def figures(self):
        return list(self._figures.values())

    def put(self, figure):
        self._figures[figure.key] = figure

    def add(self, workload, metric, unit, system, round_number, value, entries=None):
        key = (workload, metric, entries)
        if key not in self._figures:
            self._figures[key] = Figure(workload, metric, unit, entries)
        self._figures[key].add(system, round_number, value)

    def systems(self):
        """Those with a figure, in the order of the run."""
        seen = {system for figure in self.figures() for system in figure.values}
        order = list(self.about.get("settings", {}))
        return [name for name in order if name in seen] + sorted(seen - set(order))

    def save(self, path):
        figures = [{"workload": one.workload, "metric": one.metric, "unit": one.unit,
                    **({"entries": one.entries} if one.entries is not None else {}), "values": one.values}
                   for one in self.figures()]
        text = json.dumps({"format": FORMAT, "about": self.about, "failures": self.failures, "figures": figures},
                          indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")

    @staticmethod
    def load(path):
        """Raises ValueError where the file is not one of ours."""
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
            if read.get("format") != FORMAT:
                raise ValueError(f"format {read.get('format')}, wanted {FORMAT}")
            results = Results(read["about"])
            results.failures = read["failures"]
            for one in read["figures"]:
                results.put(Figure(one["workload"], one["metric"], one["unit"], one.get("entries"), one["values"]))
        except (AttributeError, KeyError, TypeError, ValueError) as problem:
            raise ValueError(f"{path}: no results of this program: {problem}") from problem
        return results


# --- before and after ------------------------------------------------------------------------------------------------

class Change:
    """One figure of one system in two runs."""

    def __init__(self, figure, system, before, after):
        self.figure = figure
        self.system = system
        self.before = median(before)
        self.after = median(after)
        better = ratios([self.after], [self.before], figure.more_is_better)
        self.ratio = better[0] if better else None  # times better after than before
        self.mark = ""
        if self.ratio is not None and not overlap(present(before), present(after)):
            self.mark = "better" if self.ratio > 1 else "worse"


def changes(before, after):
    """What both runs measured, in the order of the later one."""
    found = []
    for figure in after.figures():
        old = before.figure(*figure.key)
        if old is None or old.unit != figure.unit:
            continue
        for system in (one for one in after.systems() if one in figure.values):
            if present(old.of(system)) and present(figure.of(system)):
                found.append(Change(figure, system, old.of(system), figure.of(system)))
    return found
