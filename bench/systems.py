# SPDX-License-Identifier: Apache-2.0
"""The systems that are measured, and how their programs are built.

Each has a program that speaks the language of harness.h: `PROGRAM WORKLOAD DIRECTORY SCALE` prints a line of JSON for
each figure and exits with 2 for a workload that it does not know; `PROGRAM describe` prints one line about its
settings. To add a system, write its program, have CMake build it where its library is found, and name it in SYSTEMS.
A program that could not be built is left out, and that is said.
"""

import os
import pathlib
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
KNOWS_NOT = 2  # exit status for a workload that a system does not have


@dataclass(frozen=True)
class System:
    name: str
    title: str
    program: str  # below the build folder
    environment: dict = field(default_factory=dict)
    appends_only: bool = False  # a variant that differs where something is written
    own_threads: bool = False  # has threads of its own, so it is never bound to one processor
    pkg_config: str = ""  # name of its library there; its version is kept with the results
    package: str = ""  # the same for systems without pkg-config files


SYSTEMS = (
    System("simdrive", "simdrive", "cmake/bench/bench_store"),
    System("simdrive-map", "simdrive, map", "cmake/bench/bench_store", {"BENCH_APPEND": "map"}, appends_only=True),
    System("lmdb", "LMDB", "cmake/bench/peers/bench_lmdb", pkg_config="lmdb", package="liblmdb-dev"),
    System("leveldb", "LevelDB", "cmake/bench/peers/bench_leveldb", own_threads=True, pkg_config="leveldb",
           package="libleveldb-dev"),
    System("rocksdb", "RocksDB", "cmake/bench/peers/bench_rocksdb", own_threads=True, pkg_config="rocksdb",
           package="librocksdb-dev"),
    System("tkrzw", "tkrzw", "cmake/bench/peers/bench_tkrzw", pkg_config="tkrzw", package="libtkrzw-dev"),
    System("rust", "Rust original", "cargo/release/bench-rust"),
)
TITLES = {system.name: system.title for system in SYSTEMS}


def has_workload(system, workload):
    """What the runner need not ask the program for."""
    return not system.appends_only or workload.writes


def call(*command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    if done.returncode != 0:
        sys.exit(f"bench: failed: {' '.join(str(word) for word in command)}\n{done.stdout}")


def build_with_cmake(folder, *targets):
    call("cmake", "-S", ROOT, "-B", folder / "cmake", "-DCMAKE_BUILD_TYPE=Release", "-DSIMDRIVE_BUILD_BENCH=ON",
         "-DSIMDRIVE_BUILD_TESTS=OFF", "-DSIMDRIVE_BUILD_CLI=OFF", "-DSIMDRIVE_BUILD_EXAMPLES=OFF",
         "-DSIMDRIVE_BUILD_SHARED=OFF", "-DSIMDRIVE_INSTALL=OFF")
    call("cmake", "--build", folder / "cmake", "-j", os.cpu_count() or 1, *(["--target", *targets] if targets else []))


def build_with_cargo(folder):
    if shutil.which("cargo") is None:
        return
    done = subprocess.run(["cargo", "build", "--quiet", "--release", "--manifest-path", HERE / "rust" / "Cargo.toml",
                           "--target-dir", folder / "cargo"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        print(f"bench: the Rust implementation does not build:\n{done.stdout}", file=sys.stderr)


def build(folder, systems):
    """The programs by system name. Those that are not there afterwards are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    build_with_cmake(folder)
    if any(system.program.startswith("cargo/") for system in systems):
        build_with_cargo(folder)
    programs = {}
    for system in systems:
        if (folder / system.program).exists():
            programs[system.name] = folder / system.program
        else:
            print(f"bench: {system.title} is left out: its library or compiler is not here", file=sys.stderr)
    return programs


def describe(system, program):
    """What a system says of its settings; nothing when it says nothing."""
    done = subprocess.run([str(program), "describe"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          env={**os.environ, **system.environment}, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
