# SPDX-License-Identifier: Apache-2.0
"""The quick starts of the README do what they say, to the letter, but for blanks at the ends of lines."""
import os
import pathlib
import subprocess
import tempfile
import unittest

from pages import TOP, page, tool


class QuickStart(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_the_shell_session_runs_as_shown(self):
        """Lines that begin with `$ ` are run, the others are what they print."""
        (session,) = page("README.md").blocks("Quick start in the shell", "console")
        path = os.path.dirname(tool()) + os.pathsep + os.environ["PATH"]
        steps = []
        for line in session.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            else:
                steps[-1][1].append(line)
        self.assertGreater(len(steps), 5)
        for command, printed in steps:
            done = subprocess.run(["sh", "-c", command], cwd=self.folder, env={**os.environ, "PATH": path},
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  check=False)
            said = done.stdout.decode("utf-8").rstrip("\n").split("\n") if done.stdout else []
            self.assertEqual([line.rstrip() for line in printed], [line.rstrip() for line in said], command)

    def test_the_c_program_prints_what_is_shown(self):
        section = "Quick start in C"
        (program,) = page("README.md").blocks(section, "c")
        (printed,) = page("README.md").blocks(section, "text")
        (self.folder / "hello.c").write_text(program, encoding="utf-8")
        flags = os.environ.get("SIMDRIVE_CFLAGS", "").split()
        subprocess.run([os.environ.get("SIMDRIVE_CC", "cc"), "-std=c11", "-Wall", "-Wextra", "-Werror", *flags,
                        "-I", str(TOP / "include"), "hello.c", os.environ["SIMDRIVE_LIBRARY"], "-pthread",
                        "-o", "hello"], cwd=self.folder, check=True)
        done = subprocess.run(["./hello"], cwd=self.folder, stdout=subprocess.PIPE, check=True)
        self.assertEqual(printed, done.stdout.decode("utf-8"))


if __name__ == "__main__":
    unittest.main()
