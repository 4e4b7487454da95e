# SPDX-License-Identifier: Apache-2.0
"""The workloads, their metrics and units: what the runner runs, and how a figure is called and written.

What a workload does is in the programs and in docs/benchmarks.md. Here is only what the runner must know of it: its
title, whether it may be bound to one processor, which store it reads, how often it is worth its time.
"""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    group: str  # the table that it belongs to
    threads: bool = False  # with several threads it is not bound to one processor
    reads_w1: bool = False  # reads the store that W1 leaves
    writes: bool = False  # where the way in which the library appends makes a difference
    fresh_pages: bool = False  # writes much: memory is touched and freed ahead of it
    every: int = 1  # runs in every n-th round: long ones whose figures vary little
    quick: bool = True  # whether --quick runs it
    limited: bool = True  # of those for stores larger than memory: whether it runs where memory is short


GROUPS = {
    "write": "Writing",
    "read": "Reading",
    "beside": "Reading beside a writer",
    "mixed": "Mixed reads and writes",
    "open": "Opening and compaction",
}


def _mixed():
    what = {"A": "50 % reads, 50 % updates", "B": "95 % reads, 5 % updates", "C": "reads only",
            "F": "50 % reads, 50 % read-modify-write"}
    sizes = {"100": "100 bytes", "4K": "4 KiB", "256K": "256 KiB"}
    in_quick = {"YCSB-A-100", "YCSB-B-4K", "YCSB-C-100", "YCSB-F-256K"}
    for size, size_title in sizes.items():
        for letter, title in what.items():
            name = f"YCSB-{letter}-{size}"
            yield Workload(name, f"YCSB {letter}, {size_title}: {title}", "mixed", writes=letter != "C",
                           fresh_pages=True, every=2, quick=name in in_quick)


WORKLOADS = (
    Workload("W1", "entries of 8 bytes, batches of 1024", "write", writes=True, fresh_pages=True),
    Workload("W2", "single writes of 128 bytes", "write", writes=True, fresh_pages=True),
    Workload("W2i", "the same, synced at an interval", "write", writes=True, every=2),
    Workload("W3", "single writes of 128 bytes, 8 threads", "write", threads=True, writes=True, fresh_pages=True),
    Workload("W3-4K", "single writes of 4 KiB, 8 threads", "write", threads=True, writes=True, fresh_pages=True),
    Workload("W3-64K", "single writes of 64 KiB, 8 threads", "write", threads=True, writes=True, fresh_pages=True),
    Workload("W4", "entries of 256 KiB, batches of 16", "write", writes=True, fresh_pages=True),
    Workload("W4s", "one stream of 64 MiB", "write", writes=True, fresh_pages=True),
    Workload("W2d", "single durable writes of 128 bytes", "write", writes=True),
    Workload("W2d-8", "durable writes of 128 bytes, 8 threads", "write", threads=True, writes=True),
    Workload("W2-growth", "single inserts while the index grows", "write", writes=True, fresh_pages=True, every=2),
    Workload("R1", "random single reads", "read", reads_w1=True),
    Workload("R1-miss", "the same for keys that are missing", "read", reads_w1=True),
    Workload("R1-session", "random single reads in a session", "read", reads_w1=True),
    Workload("R2", "random reads, batches of 1024", "read", reads_w1=True),
    Workload("R2-session", "the same in a session", "read", reads_w1=True),
    Workload("R3", "iteration over all entries", "read", reads_w1=True),
    Workload("R4", "all entries in any order, 2 threads", "read", threads=True, reads_w1=True),
    Workload("R5", "8 threads of single reads beside a writer", "beside", threads=True),
    Workload("R5-batch", "8 threads of batches of 1024 beside a writer", "beside", threads=True),
    *_mixed(),
    Workload("O1", "opening, file in the page cache", "open", reads_w1=True),
    Workload("O1-saved", "opening from a saved index", "open", reads_w1=True),
    Workload("C1", "compaction, half of the entries stale", "open", fresh_pages=True, every=2),
    Workload("C2", "compaction beside a writer at full speed", "open", threads=True, fresh_pages=True, every=2),
)


def _larger_than_memory():
    for size in ("4K", "100"):
        def one(name, what, size=size, **more):
            return Workload(f"L-{name}-{size}", what, "larger", **more)

        yield one("fill", "writing in batches of at most 1 MiB, not limited", writes=True, limited=False)
        yield one("open", "opening")
        yield one("iterate", "iteration over all entries")
        yield one("both", "all entries in any order, 2 threads", threads=True)
        yield one("read", "random single reads")
        yield one("compact", "compaction, every fourth key overwritten")


LARGER_THAN_MEMORY = tuple(_larger_than_memory())  # in another run than the rest: larger_than_memory.py
BY_NAME = {workload.name: workload for workload in WORKLOADS + LARGER_THAN_MEMORY}


# --- units and metrics -----------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Unit:
    """A unit of the programs, as the tables show it."""
    title: str
    divisor: float
    more_is_better: bool


UNITS = {
    "entries/s": Unit("k/s", 1e3, True),
    "reads/s": Unit("M/s", 1e6, True),
    "ops/s": Unit("k/s", 1e3, True),
    "bytes/s": Unit("GB/s", 1e9, True),
    "ns/read": Unit("ns", 1, False),
    "ns/entry": Unit("ns", 1, False),
    "ns": Unit("ns", 1, False),
    "us": Unit("µs", 1, False),
    "ms": Unit("ms", 1, False),
    "bytes/key": Unit("B/key", 1, False),
    "bytes/entry": Unit("B/entry", 1, False),
    "bytes": Unit("MiB", MIB, False),
    "reads": Unit("reads", 1, False),
    "faults": Unit("faults", 1, False),
    "of the limit": Unit("of the limit", 1, True),
    "processors": Unit("processors", 1, False),
    "migrations": Unit("migrations", 1, False),
    "switches/s": Unit("per s", 1, False),
    "faults/s": Unit("per s", 1, False),
}

PLAIN_METRICS = ("rate", "time")  # what a workload is about; needs no name of its own
PERCENTILES = ("p50", "p99", "p99.9", "p99.99", "max")
SPACE_METRICS = ("index", "memory", "peak", "file")
METRIC_TITLES = {
    "index": "memory of the index",
    "memory": "heap after opening",
    "peak": "peak memory",
    "file": "size of the file",
    "reads": "reads",
    "saving": "saving the index",
    "longest turn": "longest time writers were kept out",
    "writes": "writes meanwhile",
    "missed": "reads that missed a key that is there",
    "alone": "a write without it",
    "meanwhile": "a write meanwhile",
    "processor": "processor time",
    "resident": "most that was resident",
    "charged": "most that was charged, page cache and all",
    "major faults": "faults that waited for the disk",
}


def unit_of(name):
    return UNITS.get(name, Unit(name, 1, name.endswith("/s")))


def percentile_of(metric):
    """The percentile at the end of a metric's name, or None: "p99" and "meanwhile p99" are latencies."""
    last = metric.split(" ")[-1]
    return last if last in PERCENTILES else None


def metric_title(metric):
    percentile = percentile_of(metric)
    if percentile is None:
        return METRIC_TITLES.get(metric, metric)
    before = metric[:-len(percentile)].strip()
    return f"{METRIC_TITLES.get(before, before)}, {percentile}" if before else percentile
