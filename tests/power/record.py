# SPDX-License-Identifier: Apache-2.0
"""The record of a disk's writes, as qemu's filter `blklogwrites` keeps it, and the disks that a cut may leave.

The record has the format of the kernel's dm-log-writes. First sector: magic, version, number of entries, sector size.
Each entry: a sector with the place and the length in sectors, flags, length of extra data; then the data.

A disk that has a cache of its own may lose, and reorder, what was written since the last flush. So the disk after the
first n entries of the record is: all writes before the last flush among them; of those behind it any subset. The marks
(marks.h) are taken as they are: they are what the machine knows to be safe.
"""

import struct

HEAD = struct.Struct("<QQQI")  # magic, version, entries, sector size
ENTRY = struct.Struct("<QQQQ")  # sector, sectors, flags, extra data
MAGIC = 0x6A736677736872
SECTOR = 512  # of records that nothing else was said for
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


class Entry:
    """One write, or flush, or both: the flush comes first."""

    def __init__(self, offset, length, flags, at):
        self.offset, self.length, self.flags, self.at = offset, length, flags, at


def read(path):
    """The entries. The head's own number of them is behind when the machine was killed."""
    with open(path, "rb") as file:
        magic, _, _, size = HEAD.unpack(file.read(HEAD.size))
        if (magic, size) == (0, 0):  # the head comes with the first flush
            size = SECTOR
        elif magic != MAGIC:
            raise ValueError(f"{path} is no record of writes")
        entries, at = [], size
        file.seek(0, 2)
        end = file.tell()
        while at + ENTRY.size <= end:
            file.seek(at)
            sector, sectors, flags, extra = ENTRY.unpack(file.read(ENTRY.size))
            at += size
            if (sector, sectors, flags) == (0, 0, 0):
                break
            length = 0 if flags & DISCARD else sectors * size
            if at + length > end:
                break
            entries.append(Entry(sector * size, length, flags, at))
            at += length + (extra + size - 1) // size * size * bool(flags & MARK)
        return entries


class Replay:
    """Applies a record to the disk as it was before, going forward only."""

    def __init__(self, path, image, marks_size, disk_size):
        self.record = open(path, "rb")
        self.disk = open(image, "r+b")
        self.entries = read(path)
        self.marks_at = disk_size - marks_size
        self.safe = 0  # entries that are on the disk for good

    def _apply(self, disk, entry):
        self.record.seek(entry.at)
        disk.seek(entry.offset)
        disk.write(self.record.read(entry.length))

    def flush_before(self, place):
        """Number of entries that the last flush among the first `place` entries has made safe."""
        for number in range(place - 1, -1, -1):
            if self.entries[number].flags & FLUSH:
                return number
        return 0

    def forward(self, place):
        """Makes the first entries safe, up to the last flush before `place`, and returns what lies between."""
        safe = self.flush_before(place)
        for entry in self.entries[self.safe:safe]:
            self._apply(self.disk, entry)
        self.disk.flush()
        self.safe = max(self.safe, safe)
        return self.entries[self.safe:place]

    def leave(self, image, entries, random):
        """On a copy of the disk: a random subset of these writes, all marks among them."""
        share = random.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        kept = 0
        with open(image, "r+b") as disk:
            for entry in entries:
                if entry.offset >= self.marks_at or entry.flags & FUA or random.random() < share:
                    self._apply(disk, entry)
                    kept += 1
        return kept

    def close(self):
        self.record.close()
        self.disk.close()
