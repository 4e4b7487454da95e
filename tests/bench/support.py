# SPDX-License-Identifier: Apache-2.0
"""Results as a run would leave them, made from numbers that tests choose; and the parts of the runner."""
import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "bench"))

import growth  # noqa: E402,F401
import larger_than_memory  # noqa: E402,F401
import limits  # noqa: E402,F401
import machine  # noqa: E402,F401
import measure  # noqa: E402,F401
import memory_limit  # noqa: E402,F401
import pictures  # noqa: E402,F401
import plot  # noqa: E402,F401
import results  # noqa: E402,F401
import systems  # noqa: E402,F401
import tables  # noqa: E402,F401
import workloads  # noqa: E402,F401

UNITS_OF_METRICS = {"rate": "entries/s", "time": "ns/read", "reads": "reads/s", "index": "bytes/key",
                    "file": "bytes/entry", "peak": "bytes"}


def results_of(figures, about=None):
    """`figures`: {(workload, metric): {system: [values]}}."""
    made = results.Results(about if about is not None else {"rounds": 2, "scale": 1, "settings": {}})
    for (workload, metric), values in figures.items():
        unit = "ns" if workloads.percentile_of(metric) else UNITS_OF_METRICS[metric]
        if workload == "W4":
            unit = "bytes/s"
        if workload.startswith("O1"):
            unit = "ms" if metric == "time" else unit
        made.put(results.Figure(workload, metric, unit, None, values))
    return made


def full_results():
    """Something for every table and every plot, from all systems; figures are invented."""
    factors = {"simdrive": 1, "simdrive-map": 1.8, "lmdb": 0.3, "leveldb": 0.11, "rocksdb": 0.09, "tkrzw": 0.5,
               "rust": 0.21}
    figures = {}
    for i, workload in enumerate(workloads.WORKLOADS):
        metrics = ["time"] if workload.group in ("read", "open") else \
            ["reads", "index"] if workload.group == "beside" else ["rate", "p50", "p99", "p99.9", "max", "file"]
        for metric in metrics:
            values = {}
            for system in systems.SYSTEMS:
                if systems.has_workload(system, workload):
                    factor = factors[system.name] * (1 + 0.3 * ((i * 7 + len(system.name)) % 5))
                    base = 70 if metric == "time" else 900 if workloads.percentile_of(metric) else 5e6 / (1 + i % 4)
                    value = base / factor if metric == "time" or workloads.percentile_of(metric) else base * factor
                    values[system.name] = [value, value * 1.1, value * 0.9]
            figures[workload.name, metric] = values
    about = {"rounds": 3, "scale": 1, "warm_up": True, "settings": {one.name: "as it comes" for one in systems.SYSTEMS},
             "machine": {"processor": "some processor", "processors": 2, "memory_mib": 24576, "date": "2026-01-01"}}
    return results_of(figures, about)
