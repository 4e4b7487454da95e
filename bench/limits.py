# SPDX-License-Identifier: Apache-2.0
"""How near the library is to what the machine allows: runs bench_limits, and its figures as tables.

A row is a workload beside a bare loop that does only what the workload cannot do without (limits/limits.h). The program
does both in turns and compares them; here stands what the bare loop does, and what the difference was found to be.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import machine
from tables import NOTHING, machine_lines, number, table
from workloads import unit_of

PROGRAM = "cmake/bench/limits/bench_limits"
SYSTEM = "limits"
SCALING = "threads"
TIMEOUT_SECONDS = 60
THREADS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Row:
    name: str
    limit: str  # what the bare loop does
    difference: str
    threads: bool = False  # not bound to one processor
    fresh_pages: bool = False


ROWS = (
    Row("R1", "hash, one line of an index, the line of the file with metadata and payload",
        "fewer reads at once: what stands between two misses is some 100 instructions more. In a session, without pins "
        "and handles, 115 ns; the probe alone, 88"),
    Row("R1-miss", "hash, one line of an index",
        "a quarter of the time is the second look that a full line makes necessary; the rest is finding the line of an "
        "index that can grow"),
    Row("R2", "the same in groups of 64, all lines of a level asked for at once",
        "checks of each hit, a handle for each entry"),
    Row("R3", "from link to link, first byte of each payload",
        "offsets checked before they are used; an entry filled out for each"),
    Row("R5", "R1 on eight threads, beside one that writes 192 bytes at a time with `pwrite`", "that of R1",
        threads=True),
    Row("W1", "hash, copy, checksum, a line of an index of final size; one `pwrite` for 1024 entries",
        "the index: 84 % of the library's own time. Each key is looked for twice, for what can fail comes before the "
        "write; and it grows", fresh_pages=True),
    Row("W2", "one `pwrite` of 192 bytes", "hash, a line of the index that is not in the cache, layout, checksum, "
        "publication", fresh_pages=True),
    Row("W2-map", "192 bytes stored into a map whose pages are there", "the same, and stores in the order in which a "
        "crash may keep them", fresh_pages=True),
    Row("W3", "W2's from eight threads", "the same; waiting writers are gathered into one `pwrite`", threads=True,
        fresh_pages=True),
    Row("W3-map", "W2-map's from eight threads", "the writer's place, which goes from thread to thread", threads=True,
        fresh_pages=True),
    Row("W4", "checksum, `pwritev` of two payloads of 256 KiB", "none: writes end with a page", fresh_pages=True),
    Row("W4s", "checksum, `pwrite` in steps of 512 KiB from the caller's memory",
        "the copy into the stream's buffer, which the caller's function makes", fresh_pages=True),
    Row("W2d", "`pwrite` of 192 bytes, `fdatasync`", "none that can be told from the disk's own spread"),
    Row("W2d-8", "one thread: `pwrite` of eight entries, `fdatasync`",
        "seven threads are woken after each sync, and come back for the next", threads=True),
    Row("O1", "map, walk the links, fill an index of final size",
        "each offset checked, each key looked for before it is put, last 64 MiB checksummed"),
    Row("C1", "copy the live half in steps of 1 MiB, `fdatasync`",
        "each entry looked up whether it is live, linked anew, and put into a new index; the file stays in use"),
)

COUNTERS = (("reads", "reads"), ("writes", "writes"), ("processors used", "processors used"),
            ("asked for", "switches asked for"), ("not asked for", "not asked for"), ("page faults", "page faults"),
            ("migrations", "migrations"))


# --- running ---------------------------------------------------------------------------------------------------------

def run_one(program, folder, scale, name, threads):
    def bind_to_one():
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    return subprocess.run([str(program), name, str(folder), f"{scale:.10g}"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_SECONDS * max(1, scale), check=False,
                          preexec_fn=None if threads else bind_to_one)


def measure(program, folder, results, scale):
    """All rows, then readers by number of threads."""
    warm_gib = min(2.0 * scale, machine.mebibytes_of("MemAvailable") / 4096)
    for name, threads, fresh_pages in [(row.name, row.threads, row.fresh_pages) for row in ROWS] + [
            (SCALING, True, False)]:
        if fresh_pages:
            subprocess.run([str(program), "warm", str(folder), f"{warm_gib:.3f}"], check=True)
        print(f"bench: {name} and its limit", file=sys.stderr, flush=True)
        done = run_one(program, folder, scale, name, threads)
        if done.returncode != 0:
            results.failures.append(f"limits {name}: {done.stderr.strip() or done.returncode}")
            continue
        for line in done.stdout.splitlines():
            figure = json.loads(line)
            results.add(name, figure["metric"], figure["unit"], SYSTEM, 0, figure["value"])


def has_limits(results):
    return any(SYSTEM in figure.values for figure in results.figures())


# --- reporting -------------------------------------------------------------------------------------------------------

def value_of(results, name, metric):
    figure = results.figure(name, metric)
    return figure.median(SYSTEM) if figure is not None else None


def in_unit(results, name, metric):
    value = value_of(results, name, metric)
    return NOTHING if value is None else number(value / unit_of(results.figure(name, metric).unit).divisor)


def share_cell(results, name):
    middle, least, most = (value_of(results, name, metric) for metric in ("share", "least share", "most share"))
    return NOTHING if middle is None else f"{number(middle)} ({number(least)} to {number(most)})"


def rows_table(results):
    rows = []
    for row in ROWS:
        figure = results.figure(row.name, "engine")
        if figure is not None:
            rows.append([row.name, row.limit, row.difference, unit_of(figure.unit).title,
                         in_unit(results, row.name, "engine"), in_unit(results, row.name, "limit"),
                         share_cell(results, row.name)])
    return table(["", "what the bare loop does", "what the difference is", "unit", "simdrive", "limit",
                  "share reached"], rows, left=4)


def scaling_table(results):
    rows = []
    for threads in THREADS:
        for beside in ("", " beside a writer"):
            cells = [in_unit(results, SCALING, f"{metric}, {threads}{beside}") for metric, _ in COUNTERS]
            if cells[0] != NOTHING:
                rows.append([str(threads), "at full speed" if beside else NOTHING] + cells)
    if not rows:
        return ""
    units = {"reads": "M/s", "writes": "k/s", "asked for": "per s", "not asked for": "per s", "page faults": "per s"}
    head = [title + (f", {units[metric]}" if metric in units else "") for metric, title in COUNTERS]
    return table(["readers", "writer"] + head, rows, left=2)


def report(results):
    parts = ["\n".join(machine_lines(results.about)), rows_table(results)]
    if results.failures:
        parts.append("Failed: " + "; ".join(results.failures) + ".")
    scaling = scaling_table(results)
    if scaling:
        parts += ["Single reads by number of threads, bound to processors in turns; one second each. Switches are "
                  "those of all threads: asked for where one waits, not asked for where several share a processor.",
                  scaling]
    return "\n\n".join(parts)
