# SPDX-License-Identifier: Apache-2.0
"""A plain model of a store file, for the interoperability test: which entries lie where.

Knows the byte layout's arithmetic (docs: the file format) and what each implementation does with an operation;
knows no payload bytes and runs no tool. It is a third opinion beside the two implementations.
"""

from dataclasses import dataclass
from typing import Optional

ALIGNMENT = 64
METADATA_SIZE = 20


@dataclass(frozen=True)
class Entry:
    """One entry of the file. `spec` is the payload in the protocol's words, None for a tombstone."""

    key: str
    spec: Optional[str]
    start: int
    end: int
    checksum: str  # "crc32" or "crc32c"

    @property
    def tail(self):
        return self.end + METADATA_SIZE

    @property
    def size(self):
        return self.end - self.start


def size_of(spec):
    return int(spec.rsplit(":", 1)[1])


class Model:
    """The file as it must be after the operations so far."""

    def __init__(self):
        self.entries = []

    @property
    def tail(self):
        return self.entries[-1].tail if self.entries else 0

    def live(self):
        """Key to entry, oldest write first."""
        found = {}
        for entry in self.entries:
            found.pop(entry.key, None)
            if entry.spec is not None:
                found[entry.key] = entry
        return found

    def keys_in_file(self):
        return {entry.key for entry in self.entries}

    def append(self, key, spec, checksum):
        start = self.tail if spec is None else -(-self.tail // ALIGNMENT) * ALIGNMENT
        size = 1 if spec is None else size_of(spec)
        self.entries.append(Entry(key, spec, start, start + size, checksum))

    def next_checksum(self, writer, asked):
        """The Rust implementation always writes CRC-32; ours goes on with what the last entry has."""
        if writer == "rust":
            return "crc32"
        return self.entries[-1].checksum if self.entries else asked

    def compact(self, writer):
        """Ours keeps the order and the checksums; the Rust implementation writes newest first, anew."""
        kept = list(self.live().values())
        self.entries = []
        for entry in reversed(kept) if writer == "rust" else kept:
            self.append(entry.key, entry.spec, "crc32" if writer == "rust" else entry.checksum)

    def cut(self, tail):
        """Forgets the entries behind `tail`."""
        self.entries = [entry for entry in self.entries if entry.tail <= tail]
