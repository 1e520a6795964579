"""The emulated machine around one dom0: its parts, its start, its saved state.

A machine lives in a folder of its own, in which it finds by short relative names all that it needs;
the image itself is shared and only read. It listens on loopback alone, on ports that the kernel
gave it, so any number of machines run side by side.
"""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.lab.xen.errors import LabError
from tests.lab.xen.image import SEARCH_PATH, Image, require
from tests.lab.xen.qmp import Qmp

TOOLS = {
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
}
MEMORY_MIB = 2048
DOM0_MEMORY_MIB = 1024
NEEDED_MIB = 2600
# Two processors, so that a guest can be given a second one while it runs.
PROCESSORS = 2
LIBVIRT_PORT = 16509
COMMAND_PORT = 2222
START_PATIENCE_S = 60.0

XEN_WORDS = (
    f"dom0_mem={DOM0_MEMORY_MIB}M,max:{DOM0_MEMORY_MIB}M dom0_max_vcpus=1 console=com1 "
    "com1=115200,8n1 vga=none watchdog=0 cpufreq=none bootscrub=0 no-real-mode "
    # What only protects against neighbours costs emulated boots dearly.
    "spec-ctrl=no xpti=no pv-l1tf=no"
)
DOM0_WORDS = (
    "console=hvc0 loglevel=4 net.ifnames=0 mitigations=off nokaslr random.trust_cpu=1 panic=-1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A machine that this process started: bound to it through a guard, or free."""

    process: subprocess.Popen[bytes]
    bound: bool

    def end(self) -> None:
        """End the machine at once and see it gone."""
        if self.bound and self.process.stdin:
            self.process.stdin.close()  # what the guard waits for
        else:
            self.process.kill()
        self.process.wait(START_PATIENCE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One dom0's machine, by its number in the lab and the folder that it lives in."""

    number: int
    folder: Path

    def command(self, *, resume: bool) -> list[str]:
        """Say what QEMU is started with; all names are relative to the folder."""
        words = f"{DOM0_WORDS} lab.number={self.number}".replace(",", ",,")
        forwards = (f"hostfwd=tcp:127.0.0.1:0-:{port}" for port in (LIBVIRT_PORT, COMMAND_PORT))
        return [
            *["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"],
            *["-name", f"lab-dom0-{self.number}", "-no-reboot", "-pidfile", "pid"],
            *["-machine", "pc", "-accel", "tcg,thread=multi,tb-size=512"],
            *["-cpu", "qemu64,+svm,+npt", "-smp", str(PROCESSORS), "-m", str(MEMORY_MIB)],
            *["-uuid", str(host_uuid(self.number))],
            *["-kernel", "xen", "-append", XEN_WORDS],
            *["-initrd", f"vmlinux-dom0 {words},initrd-dom0"],
            *["-chardev", "file,id=console,path=console", "-serial", "chardev:console"],
            *["-qmp", "unix:qmp,server=on,wait=off"],
            *["-drive", "if=none,id=root,file=disk.qcow2,format=qcow2,cache=unsafe"],
            *["-device", "virtio-blk-pci,drive=root"],
            *["-netdev", f"user,id=outside,restrict=on,{','.join(forwards)}"],
            "-device",
            f"virtio-net-pci,netdev=outside,mac=52:54:00:00:00:{self.number:02x},romfile=",
            *(["-incoming", "exec:cat memory"] if resume else []),
        ]

    def lay_out(self, image: Image, *, state: Path | None) -> None:
        """Fill the folder with links to the image, or to a saved state of it, and a fresh disk."""
        for path in (image.xen, image.kernel, image.initrd):
            (self.folder / path.name).symlink_to(path)
        below, kind = (state / "disk.qcow2", "qcow2") if state else (image.root, "raw")
        if state:
            (self.folder / "memory").symlink_to(state / "memory")
        overlay(self.folder / "disk.qcow2", os.path.relpath(below, self.folder), kind)

    def start(self, *, resume: bool, bound: bool) -> Started:
        """Start the machine; one that is bound ends with this process, however that ends."""
        check_the_machine()
        guard = [sys.executable, "-I", str(Path(__file__).with_name("guard.py")), str(self.folder)]
        with (self.folder / "qemu.log").open("wb") as log:
            process = subprocess.Popen(
                (guard if bound else []) + self.command(resume=resume),
                cwd=self.folder,
                env={**os.environ, "PATH": SEARCH_PATH},
                stdin=subprocess.PIPE if bound else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started = Started(process=process, bound=bound)
        try:
            self._await(process, (self.folder / "qmp").exists, "open its control socket")
            if resume:
                with Qmp(self.folder) as qmp:
                    self._await(process, lambda: _is_loaded(qmp), "take its saved state in")
                    qmp.order("cont")
        except BaseException:
            started.end()
            raise
        return started

    def _await(
        self, process: subprocess.Popen[bytes], test: Callable[[], bool], doing: str
    ) -> None:
        deadline = time.monotonic() + START_PATIENCE_S
        while not test():
            if process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "qemu.log").read_text(errors="replace").strip()
                raise LabError(f"the machine of dom0 {self.number} did not {doing}: {said}")
            time.sleep(0.02)  # another process, which calls nobody back

    def ports(self) -> dict[int, int]:
        """Say at which loopback port each port of dom0 is found."""
        with Qmp(self.folder) as qmp:
            table = qmp.order("human-monitor-command", **{"command-line": "info usernet"})
        rows = re.findall(r"HOST_FORWARD\S*\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+(\d+)", str(table))
        return {int(inside): int(outside) for outside, inside in rows}

    def save_memory(self) -> None:
        """Stop the machine for good and leave its memory in the file ``memory``."""
        with Qmp(self.folder) as qmp:
            qmp.order("stop")
            qmp.order("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
            qmp.order("migrate", uri="exec:cat > memory")
            deadline = time.monotonic() + START_PATIENCE_S
            while (status := qmp.status("query-migrate")) != "completed":
                if status == "failed" or time.monotonic() > deadline:
                    raise LabError(
                        f"saving the state of dom0 {self.number}: {status or 'no answer'}"
                    )
                time.sleep(0.05)  # QEMU is asked how far it is
            qmp.order("quit")

    def process(self) -> int | None:
        """Return the number of the machine's process, or None if it does not run any more."""
        try:
            number = int((self.folder / "pid").read_text())
            words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
            where = Path(f"/proc/{number}/cwd").readlink()
        except (OSError, ValueError):
            return None
        ours = b"-pidfile" in words and where == self.folder.resolve()
        return number if ours else None

    def kill(self) -> None:
        """End the machine as a power failure would, and see it gone."""
        number = self.process()
        if number is None:
            return
        os.kill(number, signal.SIGKILL)
        deadline = time.monotonic() + START_PATIENCE_S
        while self.process() is not None:
            if time.monotonic() > deadline:
                raise LabError(f"the machine of dom0 {self.number}, process {number}, does not end")
            time.sleep(0.02)  # another process, which calls nobody back


def _is_loaded(qmp: Qmp) -> bool:
    return qmp.status("query-status") != "inmigrate"


def overlay(disk: Path, below: str, kind: str) -> None:
    """Make a disk that keeps what is written to it and reads the rest from below."""
    require(TOOLS)
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", kind, disk.name],
        cwd=disk.parent,
        check=True,
    )


def check_the_machine() -> None:
    """Refuse, with the reason, where a dom0 cannot run."""
    require(TOOLS)
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) >> 10
            if free < NEEDED_MIB:
                raise LabError(f"a dom0 of the lab needs {NEEDED_MIB} MiB; {free} MiB are free")


def host_uuid(number: int) -> uuid.UUID:
    """Give every host of the lab a UUID of its own, the same each time."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, f"dom0-{number}.lab.example.org")


def qemu_version() -> str:
    """Say which QEMU is here: a saved state is good for that one alone."""
    require(TOOLS)
    said = subprocess.run(
        ["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True
    )
    return said.stdout.splitlines()[0]
