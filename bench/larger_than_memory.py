# SPDX-License-Identifier: Apache-2.0
"""Stores several times as large as memory: a control group limits what a program and its page cache may take.

Where no such group can be made, the programs take their files out of the cache before they begin, which they do in any
case: reads then come from the disk as well, but nothing has to go to make room for them. The report says which it was.
The store is written outside of the limit, for groups of version 1 know nothing of pages that wait to be written.
"""

import shutil
import sys

import memory_limit
from workloads import LARGER_THAN_MEMORY

LIMIT = 256 << 20
ROUNDS = 3
SYSTEMS = ("simdrive", "lmdb")  # where nobody asks for others
NAMES = {workload.name for workload in LARGER_THAN_MEMORY}
STORE_BYTES = 1 << 30  # of values, at scale 1


def limit_at(scale):
    """In proportion to the store, but never so low that a program has no room to run."""
    return max(int(LIMIT * min(scale, 1)), 32 << 20)


def said(files, scale):
    """How memory was kept short, for the report."""
    store, limit = STORE_BYTES * scale / (1 << 20), limit_at(scale) / (1 << 20)
    if files is None:
        return (f"Values of {store:.0f} MiB. No control group could be made, so memory was not limited: files were "
                "taken out of the page cache before each workload, and nothing more.")
    return (f"Values of {store:.0f} MiB, {store / limit:.1f} times what a control group (version {files.version}) "
            f"leaves to each program and its page cache, {limit:.0f} MiB. Files were taken out of the page cache "
            "before each workload. The stores were written without the limit.")


def run_one(measurement, system, workload, place, files):
    if files is None or not workload.limited:
        measurement.run(system, workload, place)
        return
    with memory_limit.Group(files, limit_at(measurement.scale)) as group:
        measurement.join = group.join
        ended_well = measurement.run(system, workload, place)
        measurement.join = None
        peak = group.peak()
        if ended_well and peak is not None:
            measurement.results.add(workload.name, "charged", "bytes", system.name, place, peak)


def measure(measurement, rounds, files):
    """One kind of store after the other, for the sake of the disk; all systems in turns."""
    for suffix in ("-4K", "-100"):
        chosen = [one for one in LARGER_THAN_MEMORY if one.name.endswith(suffix)]
        for place in range(rounds):
            print(f"bench: stores{suffix}, round {place + 1} of {rounds}", file=sys.stderr, flush=True)
            measurement.run_each(chosen, place, lambda system, workload, at: run_one(measurement, system, workload, at,
                                                                                     files))
        for system in measurement.systems:
            shutil.rmtree(measurement.folder / system.name, ignore_errors=True)
