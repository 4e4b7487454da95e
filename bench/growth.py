# SPDX-License-Identifier: Apache-2.0
"""How cost grows with the number of entries: the same workloads at ten thousand entries and at many millions.

Reads, writes and inserts should stay flat, opening should grow in proportion at most. What memory or disk do not
hold is left out, and said. The other systems stop earlier, for the sake of time.
"""

import shutil
import sys

import machine
from workloads import BY_NAME

SIZES = (10**4, 10**5, 10**6, 10**7, 2 * 10**7, 5 * 10**7)
ENTRIES_AT_SCALE_1 = 10**6
WORKLOADS = tuple(BY_NAME[name] for name in ("W1", "W2-growth", "R1", "R1-miss", "R2", "R3", "O1", "O1-saved"))
OTHERS = {"lmdb": ("W1", "R1", "O1"), "rust": ("W1", "R1", "O1")}
MOST_ENTRIES_OF_OTHERS = 10**7
ROUNDS_OF_SMALL = 3  # up to the size of a usual run; larger ones have one round

# Per entry, with room to spare: keys and payloads of the program, index, latencies; the file, and one of a peer beside.
MEMORY_PER_ENTRY = 200
DISK_PER_ENTRY = 150

# Touched and freed ahead of writing, as in a usual run, but as much as the workload will take for file and index: what
# the host took back comes at its own speed, and made batches of ten million entries half as fast.
WARM_GIB_LEAST = 2.0
WARM_PER_ENTRY = 100
GIB = 1 << 30


def fits(entries, free_memory, free_disk, in_memory):
    """`in_memory`: the folder is a file system of memory, so that files take from both."""
    memory = entries * (MEMORY_PER_ENTRY + (DISK_PER_ENTRY if in_memory else 0))
    return memory <= free_memory and entries * DISK_PER_ENTRY <= free_disk


def sizes_that_fit(folder, sizes=SIZES):
    free_memory = machine.mebibytes_of("MemAvailable") << 20
    free_disk = shutil.disk_usage(folder).free
    in_memory = machine.file_system_of(folder) in ("tmpfs", "ramfs")
    return [size for size in sizes if fits(size, free_memory, free_disk, in_memory)]


def rounds_of(entries):
    return ROUNDS_OF_SMALL if entries <= ENTRIES_AT_SCALE_1 else 1


def workloads_of(system, entries):
    """Empty where a system takes no part at this size."""
    if system.name == "simdrive":
        return WORKLOADS
    names = OTHERS.get(system.name, ())
    return tuple(one for one in WORKLOADS if one.name in names) if entries <= MOST_ENTRIES_OF_OTHERS else ()


def measure(measurement, sizes):
    """One system after the other: what is compared here is a system with itself at other sizes."""
    for entries in sizes:
        measurement.entries = entries
        measurement.scale = entries / ENTRIES_AT_SCALE_1
        measurement.warm(max(WARM_GIB_LEAST, entries * WARM_PER_ENTRY / GIB))
        for place in range(rounds_of(entries)):
            print(f"bench: {entries} entries, round {place + 1} of {rounds_of(entries)}", file=sys.stderr, flush=True)
            for system in measurement.systems:
                for workload in workloads_of(system, entries):
                    measurement.run(system, workload, place)
                shutil.rmtree(measurement.folder / system.name, ignore_errors=True)


def add_other_sizes(results, others):
    """Takes the figures of sizes that this run did not measure."""
    measured = {figure.entries for figure in results.figures()}
    for figure in others.figures():
        if figure.entries is not None and figure.entries not in measured:
            results.put(figure)


def left_out(fitting, wanted=SIZES):
    missing = [f"{size:,}".replace(",", " ") for size in wanted if size not in fitting]
    others = f"LMDB and the Rust original stop at {MOST_ENTRIES_OF_OTHERS:,} entries.".replace(",", " ")
    return others + (f" Left out for want of memory or disk: {', '.join(missing)} entries." if missing else "")
