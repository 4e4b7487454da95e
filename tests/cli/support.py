# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command line share: a scratch folder, running the tool, terminals, damage, forged manifests.

The tool is the one in the environment variable SIMDRIVE.
"""
import json
import os
import pty
import shutil
import stat
import subprocess
import tempfile
import threading
import unittest

TOOL = os.path.abspath(shutil.which(os.environ.get("SIMDRIVE", "simdrive")) or "simdrive")
LIMIT_S = 120

DONE, NOT_FOUND, USAGE, IO, DAMAGED, LOCKED, STALE = range(7)


class CliTest(unittest.TestCase):
    """Each test gets an empty folder, and runs the tool in it."""

    maxDiff = 4000

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="simdrive-cli-")
        self.addCleanup(self.remove_folder)
        self.store = self.path("s.store")

    def remove_folder(self):
        for folder, _, _ in os.walk(self.folder):
            os.chmod(folder, 0o700)
        shutil.rmtree(os.fsencode(self.folder))

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_tool(self, *arguments, stdin=b"", expect=DONE, env=None, **more):
        """Runs the tool, checks the exit status and the form of the messages; gives standard output."""
        more.setdefault("stdout", subprocess.PIPE)
        done = subprocess.run([TOOL, *arguments], input=stdin, stderr=subprocess.PIPE, cwd=self.folder,
                              timeout=LIMIT_S, env={**os.environ, **(env or {})}, check=False, **more)
        self.stderr = done.stderr
        self.assertEqual(done.returncode, expect, (arguments, done.stdout, done.stderr))
        if expect not in (DONE, NOT_FOUND):
            self.assertRegex(done.stderr, rb"\Asimdrive: ")
        for line in done.stderr.splitlines():
            self.assertRegex(line, rb"\Asimdrive: [^\x00-\x1f]+\Z")
        return done.stdout

    def on_store(self, *arguments, **more):
        return self.run_tool(self.store, *arguments, **more)

    def json_of(self, *arguments, **more):
        lines = self.on_store(*arguments, "--json", **more).splitlines()
        self.assertEqual(len(lines), 1, lines)
        return json.loads(lines[0])

    def assert_fields(self, found, *names):
        for name in names:
            self.assertIn(name, found)

    def file_bytes(self, path=None):
        with open(path or self.store, "rb") as file:
            return file.read()

    def flip_byte(self, offset, path=None):
        with open(path or self.store, "r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 0xFF]))


def run_on_terminal(arguments, stream, env=None, cwd=None):
    """Runs the tool with `stream` ("stdout" or "stderr") on a terminal; gives status, terminal's text, the rest."""
    master, slave = pty.openpty()
    shown = []

    def collect():
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:
                return
            if not part:
                return
            shown.append(part)

    other = "stderr" if stream == "stdout" else "stdout"
    process = subprocess.Popen([TOOL, *arguments], stdin=subprocess.DEVNULL, cwd=cwd,
                               env={**os.environ, "TERM": "xterm", **(env or {})},
                               **{stream: slave, other: subprocess.PIPE})
    os.close(slave)
    reader = threading.Thread(target=collect)
    reader.start()
    rest = getattr(process, other).read()
    getattr(process, other).close()
    status = process.wait(LIMIT_S)
    reader.join()
    os.close(master)
    return status, b"".join(shown), rest


def snapshot(root):
    """All of a folder tree that export promises to give back: {path: (kind, mode, mtime, content)}."""
    root = os.fsencode(root)
    found = {}

    def visit(path, relative):
        info = os.lstat(path)
        if stat.S_ISLNK(info.st_mode):
            found[relative] = ("link", None, info.st_mtime_ns, os.readlink(path))
        elif stat.S_ISDIR(info.st_mode):
            found[relative] = ("folder", stat.S_IMODE(info.st_mode), info.st_mtime_ns, None)
            for name in os.listdir(path):
                visit(os.path.join(path, name), os.path.join(relative, name))
        else:
            with open(path, "rb") as file:
                found[relative] = ("file", stat.S_IMODE(info.st_mode), info.st_mtime_ns, file.read())

    visit(root, b"")
    return found


def number(value):
    """A variable-length number of the manifest."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def node(kind, path, content=None, size=None, mode=0o755):
    """A node of a manifest, as cli/manifest.h describes it."""
    out = bytes([kind]) + number(len(path)) + path + number(mode) + number(2) + number(0)
    if size is not None:
        out += number(size)
    if content is not None:
        out += number(len(content)) + content
    return out


FILE, SHORT, FOLDER, LINK = 1, 2, 3, 4
ROOT = node(FOLDER, b"")
