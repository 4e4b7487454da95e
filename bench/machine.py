# SPDX-License-Identifier: Apache-2.0
"""What figures depend on besides the programs: processor, memory, kernel, file system, compilers, libraries, load.

Nothing in it tells one machine of a kind from another: no names, no addresses, no paths. What cannot be found out is
left out.
"""

import datetime
import os
import pathlib
import platform
import re
import shutil
import subprocess

from systems import ROOT

# What the kernels, the index and the peers' checksums choose by.
NOTABLE_FLAGS = ("sse4_2", "pclmulqdq", "avx2", "vpclmulqdq", "avx512f", "avx512bw", "avx512vl", "asimd", "crc32",
                 "pmull", "sve", "hypervisor")


def text_of(path):
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def answer(*command):
    """First line of what a program prints; nothing when it is not there or fails."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else ""


def field_of(text, name):
    found = re.search(rf"^{re.escape(name)}\s*:\s*(.*)$", text, flags=re.MULTILINE)
    return found.group(1).strip() if found else ""


def mebibytes_of(name):
    figure = field_of(text_of("/proc/meminfo"), name).split()
    return int(figure[0]) // 1024 if figure else 0


def file_system_of(folder):
    """Type of the file system with the longest mount point above the folder."""
    best, kind = "", ""
    for line in text_of("/proc/self/mounts").splitlines():
        where, what = line.split()[1:3]
        inside = str(folder.resolve()).startswith(where.rstrip("/") + "/") or where == "/"
        if inside and len(where) >= len(best):
            best, kind = where, what
    return kind


def compiler(cmake_folder):
    chosen = re.search(r"^CMAKE_C_COMPILER:\w+=(.*)$", text_of(cmake_folder / "CMakeCache.txt"), flags=re.MULTILINE)
    return answer(chosen.group(1), "--version") if chosen else ""


def library_version(system):
    version = answer("pkg-config", "--modversion", system.pkg_config) if system.pkg_config else ""
    if not version and system.package:
        version = answer("dpkg-query", "-W", "-f", "${Version}", system.package)
    return version


def revision():
    """The commit that was measured, and whether the tree differed from it."""
    commit = answer("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD")
    changed = answer("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
    return commit + (" with changes" if commit and changed else "")


def load():
    return round(os.getloadavg()[0], 2)


def describe(folder, cmake_folder, systems):
    processor = text_of("/proc/cpuinfo")
    flags = (field_of(processor, "flags") or field_of(processor, "Features")).split()
    huge_pages = re.search(r"\[(\w+)\]", text_of("/sys/kernel/mm/transparent_hugepage/enabled"))
    found = {
        "date": str(datetime.date.today()),
        "processor": field_of(processor, "model name") or platform.machine(),
        "processors": os.cpu_count(),
        "flags": [flag for flag in NOTABLE_FLAGS if flag in flags],
        "cache": field_of(processor, "cache size"),
        "memory_mib": mebibytes_of("MemTotal"),
        "kernel": f"{platform.system()} {re.match(r'[0-9.]*', platform.release()).group(0)}",
        "huge_pages": huge_pages.group(1) if huge_pages else "",
        "file_system": file_system_of(folder),
        "compiler": compiler(cmake_folder),
        "rustc": answer("rustc", "--version") if any(system.name == "rust" for system in systems) else "",
        "revision": revision(),
        "libraries": {system.title: library_version(system) for system in systems if library_version(system)},
        "load_before": load(),
    }
    return {name: value for name, value in found.items() if value not in ("", None, [], {})}
