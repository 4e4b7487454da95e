# SPDX-License-Identifier: Apache-2.0
"""Which plots the results give, and what is in each: pairs of title and file name, and the SVG.

Bars show operations per second, so that longer is better everywhere; times are turned into rates. Lines show what one
operation takes, or an opening, as the number of entries grows.
"""

import plot
from systems import TITLES
from workloads import unit_of

TO_RATE = {"ns/read": 1e9, "ns/entry": 1e9}  # of a time in that unit: operations in a second
LONGER = "a second, logarithmic scale; longer is better; medians"

# name of the file, title, subtitle, rows of (title, workload, metric)
BAR_PLOTS = (
    ("reads.svg", "Reading", f"Entries {LONGER}", (
        ("Random single reads", "R1", "time"),
        ("Keys that are missing", "R1-miss", "time"),
        ("Batches of 1024", "R2", "time"),
        ("Iteration", "R3", "time"),
        ("All entries, two threads", "R4", "time"),
        ("8 readers beside a writer", "R5", "reads"),
    )),
    ("writes.svg", "Writing", f"Entries {LONGER}", (
        ("8 bytes, batches of 1024", "W1", "rate"),
        ("128 bytes, one by one", "W2", "rate"),
        ("128 bytes, 8 threads", "W3", "rate"),
        ("4 KiB, 8 threads", "W3-4K", "rate"),
        ("64 KiB, 8 threads", "W3-64K", "rate"),
        ("128 bytes, durable", "W2d", "rate"),
        ("128 bytes, durable, 8 threads", "W2d-8", "rate"),
    )),
    ("large.svg", "Large values", f"Bytes {LONGER}", (
        ("256 KiB, batches of 16", "W4", "rate"),
        ("One stream of 64 MiB", "W4s", "rate"),
    )),
    *((f"mixed-{size.lower()}.svg", f"Mixed reads and writes, values of {title}", f"Operations {LONGER}", (
        ("50 % reads, 50 % updates", f"YCSB-A-{size}", "rate"),
        ("95 % reads, 5 % updates", f"YCSB-B-{size}", "rate"),
        ("Reads only", f"YCSB-C-{size}", "rate"),
        ("50 % read-modify-write", f"YCSB-F-{size}", "rate"),
    )) for size, title in (("100", "100 bytes"), ("4K", "4 KiB"), ("256K", "256 KiB"))),
)

# name of the file, title, subtitle, lines of (label, workload, metric, system, dashed)
GROWTH_LINES = (
    ("growth-operations.svg", "One operation, from ten thousand entries to many millions",
     "Nanoseconds by number of entries, both scales logarithmic; lower is better", (
         ("simdrive: single read", "R1", "time", "simdrive", False),
         ("simdrive: missing key", "R1-miss", "time", "simdrive", False),
         ("simdrive: batch read", "R2", "time", "simdrive", False),
         ("simdrive: iteration", "R3", "time", "simdrive", False),
         ("simdrive: batch write", "W1", "rate", "simdrive", True),
         ("Rust original: single read", "R1", "time", "rust", True),
         ("LMDB: single read", "R1", "time", "lmdb", True),
     )),
    ("growth-opening.svg", "Opening, from ten thousand entries to many millions",
     "Milliseconds by number of entries, both scales logarithmic; lower is better", (
         ("simdrive: walking over all", "O1", "time", "simdrive", False),
         ("simdrive: saved index", "O1-saved", "time", "simdrive", False),
         ("Rust original", "O1", "time", "rust", True),
         ("LMDB (index on disk)", "O1", "time", "lmdb", True),
     )),
)


def as_rate(figure, value):
    per_second = TO_RATE.get(figure.unit)
    return per_second / value if per_second else value


def bar_group(results, title, workload, metric):
    figure = results.figure(workload, metric)
    if figure is None:
        return plot.Group(title, workload, {})
    middles = {system: figure.median(system) for system in TITLES}
    return plot.Group(title, workload, {system: as_rate(figure, value) for system, value in middles.items() if value})


def bar_plots(results):
    """Pairs of (title, file name) and SVG, of what was measured."""
    made = []
    for name, title, subtitle, rows in BAR_PLOTS:
        groups = [bar_group(results, *row) for row in rows]
        if any(group.values for group in groups):
            made.append(((title, name), plot.bars(title, subtitle, groups, TITLES)))
    return made


def growth_points(results, workload, metric, system):
    points = []
    for figure in results.figures():
        if (figure.workload, figure.metric) == (workload, metric) and figure.entries is not None:
            value = figure.median(system)
            if value:
                time = 1e9 / value if unit_of(figure.unit).more_is_better else value
                points.append((figure.entries, time))
    return sorted(points)


def growth_plots(results):
    made = []
    for name, title, subtitle, lines in GROWTH_LINES:
        drawn = [plot.Line(label, system, growth_points(results, workload, metric, system), dashed)
                 for label, workload, metric, system, dashed in lines]
        if any(line.points for line in drawn):
            made.append(((title, name), plot.lines(title, subtitle, drawn)))
    return made
