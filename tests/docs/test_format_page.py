# SPDX-License-Identifier: Apache-2.0
"""The hex dumps of docs/format.md, written a second and a third time: by the tables of that page as Python, and by
the command line. All three are the same bytes, and the tool understands each of them as the page says."""
import json
import pathlib
import re
import struct
import subprocess
import tempfile
import unittest
import zlib

from pages import page, tool

ALIGNMENT = 64
# XXH3-64 with seed 0 of these keys; tests/store/test_golden.c checks the library's own.
KEY_HASHES = {"alice": 0x4DA10DD61A0116B0, "bob": 0x1403C0C40F49B8E5}


def crc32c(data):
    """CRC-32C bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def metadata(key, prev, checksum):
    return struct.pack("<QQI", KEY_HASHES[key], prev, checksum)


def put(store, key, payload, checksum=crc32c):
    prev = len(store)
    padding = (ALIGNMENT - prev % ALIGNMENT) & (ALIGNMENT - 1)
    return store + bytes(padding) + payload + metadata(key, prev, checksum(payload))


def delete(store, key, checksum=crc32c):
    return store + b"\0" + metadata(key, len(store), checksum(b"\0"))


def example(checksum=crc32c):
    store = put(b"", "alice", b"first value", checksum)
    return delete(put(store, "bob", b"value of bob", checksum), "alice", checksum)


def dumps():
    """Hex dumps of the page, in order, as bytes."""
    found = []
    for block in re.findall(r"^```hexdump\n(.*?)^```$", page("docs/format.md").text, re.MULTILINE | re.DOTALL):
        data = b""
        for line in block.splitlines():
            offset, digits = re.match(r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+)", line).groups()
            if int(offset, 16) != len(data):
                raise AssertionError("the line at %s follows %d bytes" % (offset, len(data)))
            data += bytes.fromhex(digits)
        found.append(data)
    return found


class FormatPage(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.store = pathlib.Path(folder.name) / "example.store"
        self.whole, self.unpublished, self.first_write = dumps()

    def run_tool(self, *arguments, status=0):
        done = subprocess.run([tool(), str(self.store), *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertEqual(status, done.returncode, (arguments, done.stderr))
        return done.stdout

    def write_with_tool(self, *options):
        self.run_tool("write", *options, "alice", "first value")
        self.run_tool("write", *options, "bob", "value of bob")
        self.run_tool("delete", "alice")
        return self.store.read_bytes()

    def info(self, data):
        self.store.write_bytes(data)
        found = json.loads(self.run_tool("info", "--json"))
        self.assertEqual(data, self.store.read_bytes())
        return found

    def test_the_example_is_what_the_rules_and_the_tool_write(self):
        self.assertEqual(example().hex(" "), self.whole.hex(" "))
        self.assertEqual(self.write_with_tool().hex(" "), self.whole.hex(" "))
        found = self.info(self.whole)
        self.assertEqual([1, 1, 1, 117, 0], [found[name] for name in (
            "entries", "tombstones", "stale_entries", "tail", "damaged_tail_bytes")])

    def test_the_other_kind_of_checksum(self):
        self.assertEqual(example(zlib.crc32), self.write_with_tool("--checksum", "crc32"))
        text = page("docs/format.md").text
        for checksum in (crc32c, zlib.crc32):
            self.assertIn("`%08x`" % checksum(b"\0"), text)
            self.assertIn("`%08x`" % checksum(b"123456789"), text)

    def test_an_unpublished_batch_is_passed_over(self):
        bare = bytearray(example())
        bare[84:92] = bytes(byte ^ 0xFF for byte in bare[84:92])
        self.assertEqual(bytes(bare).hex(" "), self.unpublished.hex(" "))
        found = self.info(self.unpublished)
        self.assertEqual([1, 31, 86], [found[name] for name in ("entries", "tail", "damaged_tail_bytes")])
        self.assertEqual(b"first value", self.run_tool("read", "alice"))
        self.run_tool("read", "bob", status=1)

    def test_an_interrupted_first_write_is_passed_over(self):
        bare = put(b"", "alice", b"first value")
        self.assertEqual((b"\xf7first\0\xfd" + bare[8:]).hex(" "), self.first_write.hex(" "))
        found = self.info(self.first_write)
        self.assertEqual([0, 0, 31], [found[name] for name in ("entries", "tail", "damaged_tail_bytes")])

    def test_the_next_write_keeps_damaged_bytes_aside(self):
        self.store.write_bytes(self.unpublished)
        self.run_tool("write", "bob", "value of bob")
        kept = self.store.with_name(self.store.name + ".tail-31")
        self.assertEqual(self.unpublished[31:], kept.read_bytes())
        self.assertEqual(example()[:96], self.store.read_bytes())

    def test_hashes_of_the_page_are_those_of_the_tool(self):
        text = page("docs/format.md").text
        self.write_with_tool()
        for key in ("", "alice", "bob", "test_key", "longer_key_name"):
            found = json.loads(self.run_tool("exists", "--json", "--", key, status=0 if key == "bob" else 1))
            self.assertIn("`%s`" % found["keys"][0]["key_hash"], text)


if __name__ == "__main__":
    unittest.main()
