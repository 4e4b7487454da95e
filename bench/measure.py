# SPDX-License-Identifier: Apache-2.0
"""Runs the programs of all systems in turns and collects what they report.

Each workload is a process of its own. In every round all systems run a workload right after each other, in an order
that changes from round to round, before the next workload begins. Round 0 warms up and is not kept; round n + 1 gives
the values at place n. A workload with `every` = 2 runs in the 1st, 3rd, 5th... round that counts.
"""

import json
import os
import subprocess
import sys

import machine
from systems import KNOWS_NOT, has_workload

TIMEOUT_SECONDS = 180  # at scale 1 and below; above in proportion


def plan(workloads, rounds, warm_up):
    """Pairs of a round's place among the values (-1: not kept) and what it runs."""
    rounds_of = [(number, [one for one in workloads if number % one.every == 0]) for number in range(rounds)]
    warming = [one for one in workloads if one.every == 1]
    return ([(-1, warming)] if warm_up else []) + rounds_of


def rotated(items, by):
    by %= len(items)
    return items[by:] + items[:by]


class Measurement:
    def __init__(self, systems, programs, folder, results, scale):
        self.systems = [system for system in systems if system.name in programs]
        self.programs = programs
        self.folder = folder
        self.results = results
        self.scale = scale
        self.warm_gib = 0.0
        self.join = None  # called in the process that is to run a program, for a group that it is to be in
        self.entries = None  # kept with each figure where several sizes are measured
        self.passed_over = set()  # pairs that are unknown or do not end: once is enough

    def warm(self, gib):
        """Ahead of each workload that writes much, so much memory is touched and freed; never more than a quarter."""
        self.warm_gib = min(gib, machine.mebibytes_of("MemAvailable") / 4096)

    def timeout(self):
        return TIMEOUT_SECONDS * max(1, self.scale)

    def run_rounds(self, workloads, rounds, warm_up):
        for place, chosen in plan(workloads, rounds, warm_up):
            print("bench: " + (f"round {place + 1} of {rounds}" if place >= 0 else "round to warm up"),
                  file=sys.stderr, flush=True)
            self.run_each(chosen, place, self.run)

    def run_each(self, chosen, place, run):
        """Each workload by all systems in turns."""
        for workload in chosen:
            for system in rotated(self.systems, place + 1):
                run(system, workload, place)

    def run(self, system, workload, place):
        """Whether it ended well."""
        if not has_workload(system, workload) or (system.name, workload.name) in self.passed_over:
            return False
        folder = self.folder / system.name
        folder.mkdir(exist_ok=True)
        if workload.fresh_pages and self.warm_gib > 0:
            subprocess.run([str(self.programs["simdrive"]), "warm", str(folder), str(self.warm_gib)], check=True)
        try:
            done = self.start(system, workload, folder)
        except subprocess.TimeoutExpired:
            self.fail(system, workload, f"no end within {self.timeout():.0f} s")
            self.passed_over.add((system.name, workload.name))
            return False
        if done.returncode == KNOWS_NOT:
            self.passed_over.add((system.name, workload.name))
        elif done.returncode != 0:
            self.fail(system, workload, done.stderr.strip() or f"status {done.returncode}")
        elif place >= 0:
            self.collect(system, workload, place, done.stdout)
        return done.returncode == 0

    def start(self, system, workload, folder):
        def prepare():
            if self.join is not None:
                self.join()
            if not workload.threads and not system.own_threads:
                os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

        command = [str(self.programs[system.name]), workload.name, str(folder), f"{self.scale:.10g}"]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env={**os.environ, **system.environment}, timeout=self.timeout(), check=False,
                              preexec_fn=prepare)

    def collect(self, system, workload, place, output):
        for line in output.splitlines():
            figure = json.loads(line)
            self.results.add(workload.name, figure["metric"], figure["unit"], system.name, place, figure["value"],
                             self.entries)

    def fail(self, system, workload, reason):
        self.results.failures.append(f"{system.name} {workload.name}: {reason}")
        print(f"bench: failed: {self.results.failures[-1]}", file=sys.stderr, flush=True)
