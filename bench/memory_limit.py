# SPDX-License-Identifier: Apache-2.0
"""A limit to the memory of one process and the page cache that it fills: a control group, where one can be made.

Groups of version 1 (a hierarchy of its own for memory) and of version 2 (one for all) are known. Making one takes the
rights of root, or a part of the hierarchy that was given to the user. Where neither is so, find() gives None, and
whoever measures has nothing but the dropping of files from the cache.

What a dead process has left in the cache stays charged to its group, so each run has a group of its own.
"""

import os
import pathlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Files:
    """What they are called in a version."""
    version: int
    top: pathlib.Path
    limit: str
    peak: str
    empty: str


def known(root):
    return (Files(1, root / "memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.force_empty"),
            Files(2, root, "memory.max", "memory.peak", "memory.reclaim"))


def write(path, text):
    try:
        path.write_text(text, encoding="ascii")
        return True
    except OSError:
        return False


class Group:
    """Used with `with`; join() is called by the process that is to be in it."""

    def __init__(self, files, limit):
        self.files = files
        self.limit = limit
        self.folder = files.top / f"simdrive-bench-{os.getpid()}"

    def __enter__(self):
        if self.files.version == 2:
            write(self.files.top / "cgroup.subtree_control", "+memory")
        self.folder.mkdir()
        if not write(self.folder / self.files.limit, str(self.limit)):
            self.folder.rmdir()
            raise OSError("no limit of memory can be set here")
        return self

    def __exit__(self, *_):
        write(self.folder / self.files.empty, "0" if self.files.version == 1 else str(self.limit))
        self.folder.rmdir()

    def join(self):
        (self.folder / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")

    def peak(self):
        """The most that was charged; None where the system does not tell."""
        try:
            return int((self.folder / self.files.peak).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None


def find(root=pathlib.Path("/sys/fs/cgroup"), limit=1 << 28):
    """The files of a hierarchy in which a group with a limit can be made, or None."""
    for files in known(root):
        try:
            with Group(files, limit):
                return files
        except OSError:
            continue
    return None
