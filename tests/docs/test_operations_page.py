# SPDX-License-Identifier: Apache-2.0
"""Every run that the operations page shows can be repeated: the commands succeed and print what stands there, but for
the figures. A line `...` stands for any number of lines."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from pages import page, tool

A_FIGURE = re.compile(r"\b(?:[0-9]+:)?(?=[0-9a-f]*[0-9])[0-9a-f]{8,}\b|[0-9][0-9.,:+\-TZ]*")
FAILS = re.compile(r"^\[exit status (\d+)\]$")


def plain(line):
    """The line without what differs from run to run: figures, and blanks that put them into columns."""
    return re.sub(r"\s+", " ", A_FIGURE.sub("#", line)).strip()


def steps_of(block):
    """Pairs of a command and the lines that it prints; commands may go on over lines that end in a backslash."""
    steps, continued = [], False
    for line in block.splitlines():
        if continued:
            steps[-1][0].append(line.strip())
        elif line.startswith("$ "):
            steps.append(([line[2:]], []))
        else:
            steps[-1][1].append(line)
        continued = (continued or line.startswith("$ ")) and line.endswith("\\")
    return [(" ".join(part.rstrip("\\") for part in command), printed) for command, printed in steps]


def agrees(shown, said):
    """Whether what is shown, with its gaps, is what was said."""
    if not shown:
        return not said
    if shown[0] == "...":
        return any(agrees(shown[1:], said[skip:]) for skip in range(len(said) + 1))
    return bool(said) and shown[0] == said[0] and agrees(shown[1:], said[1:])


class OperationsPage(unittest.TestCase):
    def test_all_runs_can_be_repeated(self):
        """One after the other, in one folder, as a reader would do."""
        blocks = re.findall(r"^```console\n(.*?)^```$", page("docs/operations.md").text, flags=re.MULTILINE | re.DOTALL)
        self.assertGreater(len(blocks), 8)
        path = os.path.dirname(tool()) + os.pathsep + os.environ["PATH"]
        with tempfile.TemporaryDirectory() as folder:
            for block in blocks:
                for command, printed in steps_of(block):
                    self.run_step(pathlib.Path(folder), path, command, printed)

    def run_step(self, folder, path, command, printed):
        wanted = 0
        if printed and FAILS.match(printed[-1]):
            wanted = int(FAILS.match(printed[-1]).group(1))
            printed = printed[:-1]
        done = subprocess.run(["bash", "-c", command], cwd=folder, env={**os.environ, "PATH": path},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              timeout=120)
        said = [plain(line) for line in done.stdout.decode("utf-8").splitlines()]
        shown = [plain(line) if line != "..." else line for line in printed]
        self.assertTrue(agrees(shown, said), "%s\nis shown to print\n%s\nand prints\n%s"
                        % (command, "\n".join(printed), done.stdout.decode("utf-8")))
        self.assertEqual(wanted, done.returncode, command)


if __name__ == "__main__":
    unittest.main()
