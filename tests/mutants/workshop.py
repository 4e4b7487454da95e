# SPDX-License-Identifier: Apache-2.0
"""Builds mutants and runs tests against them.

`build` is a folder in which the tree and its tests are built. Of a mutant only the changed source is compiled. It is
linked in front of the static library: the linker takes from a library only what is still missing, and a mutant defines
all that its original does.

A test's run has a folder of its own in memory, which is removed behind it; limits on the files and the memory that a
mutant run wild could eat; and a time limit, for many a mutant runs for ever. Its processes end with it.
"""

import contextlib
import json
import os
import pathlib
import resource
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

MAX_FILE = 9 << 30  # tests write far into files with holes
MAX_MEMORY = 3 << 30
LEAST_LIMIT_S = 10  # of a test, however fast it is
LIMIT_FACTOR = 15   # times what it takes with the original; the machine may be busy


class NotCompiled(Exception):
    pass


def limit_resources():
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE, MAX_FILE))
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Workshop:
    def __init__(self, top, build):
        self.top, self.build = pathlib.Path(top), pathlib.Path(build)
        self.commands = {}
        for entry in json.loads((self.build / "compile_commands.json").read_text()):
            path = pathlib.Path(entry["file"])
            # The fuzzers build the sources for themselves.
            for part, target in (("src", "simdrive_objects.dir"), ("tests", "_test_")):
                if path.is_relative_to(self.top / part) and target in entry["command"]:
                    self.commands[str(path.relative_to(self.top / part))] = entry
        times = self.build / "test-times.json"
        self.times = json.loads(times.read_text()) if times.exists() else {}

    @contextlib.contextmanager
    def bench(self):
        """A folder for one mutant's object and programs."""
        path = tempfile.mkdtemp(prefix="mutant-", dir=self.build)
        try:
            yield pathlib.Path(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def compile(self, bench, file, text):
        """The object of `file` when its text is `text`."""
        source = bench / "src" / file
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(text)
        return self.object(bench, file, source, [])

    def object(self, bench, file, source, before):
        """What the build makes of `file`, made of `source`; with options before the others."""
        entry = self.commands[file]
        out = bench / (pathlib.Path(file).stem + ".o")
        words = [word for word in shlex.split(entry["command"]) if not word.endswith("ccache")]
        words[words.index("-o") + 1] = str(out)
        words = [str(source) if word == entry["file"] else word for word in words]
        # Includes are looked for beside the source too.
        words[1:1] = before
        words += ["-w", "-g0", "-I", str(pathlib.Path(entry["file"]).parent)]
        done = subprocess.run(words, cwd=entry["directory"], env={**os.environ, "CCACHE_DISABLE": "1"},
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=300)
        if done.returncode != 0:
            raise NotCompiled(file)
        return out

    def link(self, bench, objects, test):
        """The test's program. A test that has the source in itself, to count or to replace something in it, is compiled
        anew with the mutant instead."""
        folder, name = test.split(".")
        program = f"{folder}_test_{name}"
        made = self.build / "tests" / folder / "CMakeFiles" / f"{program}.dir" / f"test_{name}.c.o"
        out = bench / program
        file = f"{folder}/test_{name}.c"
        text = (self.top / "tests" / file).read_text()
        inside = [source for source in bench.glob("src/*/*.c")
                  if f'#include "{source.relative_to(bench / "src")}"' in text]
        if inside:
            made = self.object(bench, file, self.top / "tests" / file, ["-I", str(bench / "src")])
            objects = [item for item in objects if item.stem not in [source.stem for source in inside]]
        subprocess.run(["cc", "-pie", "-o", str(out), str(made), *map(str, objects),
                        str(self.build / "tests" / "libsimdrive_test_support_objects.a"),
                        str(self.build / "libsimdrive.a"), "-lcmocka", "-lpthread"], check=True, timeout=300)
        return out

    def tests(self):
        """All that there are, as ctest names them."""
        found = []
        for program in sorted(self.build.glob("tests/*/*_test_*")):
            if program.is_file():
                folder, name = program.name.split("_test_", 1)
                found.append(f"{folder}.{name}")
        return found

    def run(self, program, limit_s):
        """Why the test fails: 'failed', 'signal N' or 'hangs'; None when it passes."""
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        folder = tempfile.mkdtemp(prefix="simdrive-mutant-", dir=base)
        os.chmod(folder, 0o755)  # some tests give up their rights
        process = subprocess.Popen([str(program)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True, preexec_fn=limit_resources,
                                   env={**os.environ, "SIMDRIVE_TEST_FOLDER": folder})
        try:
            status = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return "hangs"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)
        if status in (0, 77):
            return None
        return f"signal {-status}" if status < 0 else "failed"

    def limit_of(self, test):
        return max(LEAST_LIMIT_S, LIMIT_FACTOR * self.times.get(test, 1))

    def measure(self, tests):
        """Runs tests with the original, those that were not yet: a test that fails then proves nothing. Says which."""
        failing = []
        for test in tests:
            if test in self.times:
                continue
            folder, name = test.split(".")
            began = time.monotonic()
            why = self.run(self.build / "tests" / folder / f"{folder}_test_{name}", 600)
            if why:
                failing.append(f"{test} ({why})")
            else:
                self.times[test] = round(time.monotonic() - began, 2)
                (self.build / "test-times.json").write_text(json.dumps(self.times, indent=1))
        return failing
