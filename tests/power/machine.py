# SPDX-License-Identifier: Apache-2.0
"""A virtual machine made of a kernel, one program as its process 1, and one disk.

The kernel is Debian's for clouds, taken out of its package without installing it. The machine runs with KVM where a
kernel boots under it, else emulated, which is slower and nothing else: what matters is that the guest has its own page
cache and its own file system, and that the disk is all that is left of it when the process of the machine is killed.

Booting takes most of the time of a cut, so a machine is booted once, saved when its program waits for its task, and
started from there for each cut.
"""

import gzip
import json
import os
import pathlib
import selectors
import signal
import socket
import subprocess
import time

# In the order in which they must be loaded; those that a kernel has built in have no file.
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk",
           "libcrc32c", "xfs")
BOOT_SECONDS = 40


class Unavailable(Exception):
    """What is needed cannot be had here."""


def run(*command, **options):
    """Runs a command to its end; its output is in the exception when it fails."""
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          **options).stdout


def fetch_kernel(folder):
    """Unpacks the kernel's package into `folder`, unless that was done before."""
    try:
        if not list(folder.glob("boot/vmlinuz-*")):
            folder.mkdir(parents=True, exist_ok=True)
            depends = run("apt-cache", "depends", "linux-image-cloud-amd64")
            package = depends.split("Depends: ")[1].split()[0]
            run("apt-get", "download", package, cwd=folder)
            for archive in folder.glob("*.deb"):
                run("dpkg-deb", "-x", str(archive), str(folder))
                archive.unlink()
    except (OSError, IndexError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"no kernel for the guest: {getattr(error, 'output', None) or error}") from error
    return next(folder.glob("boot/vmlinuz-*"))


def cpio_member(name, mode, data, number, device=(0, 0)):
    """One file of an archive in the `newc` format, which a kernel takes as its first file system."""
    path = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    head += b"\0" * (-len(head) % 4)
    return head + data + b"\0" * (-len(data) % 4)


def make_initrd(folder, program, path):
    """The guest's first file system: the program as /init, a console, and the modules."""
    members = [("dev", 0o040755, b"", (0, 0)), ("dev/console", 0o020600, b"", (5, 1)),
               ("modules", 0o040755, b"", (0, 0)), ("init", 0o100755, pathlib.Path(program).read_bytes(), (0, 0))]
    for place, module in enumerate(MODULES):
        for file in folder.glob(f"lib/modules/*/kernel/**/{module}.ko"):
            members.append((f"modules/{place:02}-{module}.ko", 0o100644, file.read_bytes(), (0, 0)))
    archive = b"".join(cpio_member(name, mode, data, number, device)
                       for number, (name, mode, data, device) in enumerate(members, 1))
    path.write_bytes(gzip.compress(archive + cpio_member("TRAILER!!!", 0, b"", 0), 1))


class Machine:
    """A running machine. What it says on its console is in `console`."""

    def __init__(self, image, extra, record=None):
        if record:
            blockdev = f"driver=blklogwrites,log.driver=file,log.filename={record}"
        else:
            blockdev = "driver=raw"
        blockdev += f",file.driver=file,file.filename={image}"
        self.console = b""
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-cpu", "max", "-m", "192", "-nodefaults", "-display", "none", "-no-reboot",
             "-serial", "stdio", "-blockdev", f"{blockdev},node-name=disk",
             "-device", "virtio-blk-pci,drive=disk,discard=off,write-zeroes=off", *extra],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def listen(self, seconds, until=None):
        """Takes in what is said for so long, or until it holds `until`. False when the machine has ended."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if until and until in self.console:
                return True
            if self.selector.select(left):
                said = self.process.stdout.read()
                if said == b"":
                    return False
                self.console += said or b""
        return True

    def wait_for(self, said):
        """Whether the program has said so."""
        return self.listen(BOOT_SECONDS, said) and said in self.console

    def cut(self):
        """The power goes."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.selector.close()


def save_booted(kernel, initrd, image, accelerator, path):
    """Boots a machine until its program waits for its task, and saves it. Unavailable when it does not come so far."""
    monitor = path.with_suffix(".monitor")
    machine = Machine(image, ["-accel", accelerator, "-kernel", str(kernel), "-initrd", str(initrd),
                              "-append", "console=ttyS0 panic=-1 quiet random.trust_cpu=on",
                              "-qmp", f"unix:{monitor},server=on,wait=off"])
    try:
        if not machine.wait_for(b"guest: ready"):
            said = machine.console[-300:].decode(errors="replace")
            raise Unavailable(f"no kernel boots with {accelerator}: {said!r}")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(BOOT_SECONDS)
            connection.connect(str(monitor))
            answers = connection.makefile("r")
            # Not stopped before: it would be when it is started again.
            for command in ({"execute": "qmp_capabilities"},
                            {"execute": "migrate", "arguments": {"uri": f"exec:cat > {path}"}}):
                connection.sendall(json.dumps(command).encode())
            for answer in answers:
                if '"error"' in answer or '"status": "failed"' in answer:
                    raise Unavailable(f"the booted machine cannot be saved: {answer}")
                connection.sendall(json.dumps({"execute": "query-migrate"}).encode())
                if '"status": "completed"' in answer:
                    return
                time.sleep(0.05)
    finally:
        machine.cut()
    raise Unavailable("the booted machine cannot be saved")


def start_saved(path, image, accelerator, record=None):
    """A machine that goes on where that one was saved, with another disk of the same size."""
    return Machine(image, ["-accel", accelerator, "-incoming", f"exec:cat {path}"], record)
