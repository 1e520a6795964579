"""One to three private libvirt/QEMU hosts that come up together and leave nothing behind.

The hosts stand on a network of their own, in namespaces that no other program uses; with
``network=True`` a cable leads from it to this machine, so that ``qemu+tcp`` can be spoken. Every
name and number is the run's own: two labs live beside each other, and nothing foreign is touched.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.lab.cache import cache_directory
from tests.lab.guest import build_guest
from tests.lab.qemu import runs
from tests.lab.qemu.errors import LabError
from tests.lab.qemu.host import QemuHost
from tests.lab.qemu.namespace import Namespace

HOSTS_AT_MOST = 9
PROGRAMS = ["ip", "libvirtd", "nsenter", "pivot_root", "qemu-system-x86_64", "unshare"]


class QemuLab(AbstractContextManager["QemuLab"]):
    """Private libvirt/QEMU hosts, up between ``start`` and ``stop`` or inside ``with``."""

    def __init__(self, hosts: int = 1, *, network: bool = False) -> None:
        """Plan a lab of so many hosts; ``network`` lays a cable from them to this machine."""
        if not 1 <= hosts <= HOSTS_AT_MOST:
            raise LabError(f"a lab has 1 to {HOSTS_AT_MOST} hosts, not {hosts}")
        self.hosts: list[QemuHost] = []
        self._wanted = hosts
        self._network = network
        self._directory: Path | None = None
        self._switch: Namespace | None = None
        self._number: IO[str] | None = None
        self._cable: str | None = None

    @property
    def host(self) -> QemuHost:
        """The first host, for those who need only one."""
        return self.hosts[0]

    @property
    def directory(self) -> Path:
        """The run's own directory; it goes with the lab."""
        if self._directory is None:
            raise LabError("the lab is not up")
        return self._directory

    @property
    def shared(self) -> Path:
        """A directory that every host sees as ``/srv/shared``."""
        return self.directory / "shared"

    def start(self) -> Self:
        """Bring the hosts up; return when all of them answer."""
        _check_this_machine()
        guest = build_guest()
        self._directory = Path(tempfile.mkdtemp(prefix=runs.PREFIX))
        runs.sign(self._directory)
        self.shared.mkdir()
        try:
            prefix = f"10.77.{self._choose_network() if self._network else 0}"
            addresses = {f"h{n}": f"{prefix}.{10 + n}" for n in range(1, self._wanted + 1)}
            for name, address in addresses.items():
                host = QemuHost(
                    name,
                    directory=self.directory / name,
                    address=address,
                    listen=self._network or self._wanted > 1,
                )
                host.lay_out(guest, addresses)
                host.boot(self.shared)
                self.hosts.append(host)
            self._lay_cables(prefix)
            for host in self.hosts:
                host.start()
            for host in self.hosts:
                host.furnish()
        except BaseException:
            self.stop()
            raise
        return self

    def revive(self, host: QemuHost) -> None:
        """Give power back to a host that crashed."""
        host.boot(self.shared)
        if self._switch is not None:
            self._connect(host)
        host.start()
        host.furnish()

    def stop(self) -> None:
        """End every host, and remove all that the lab made; harmless when there is nothing."""
        for host in self.hosts:
            host.stop()
        self.hosts.clear()
        if self._cable is not None:
            _ip(f"link delete {self._cable}")
            self._cable = None
        if self._switch is not None:
            self._switch.end()
            self._switch = None
        if self._number is not None:
            self._number.close()
            self._number = None
        if self._directory is not None:
            shutil.rmtree(self._directory)
            self._directory = None

    def __enter__(self) -> Self:
        """Start the lab."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the lab, whatever happened."""
        self.stop()

    def _lay_cables(self, prefix: str) -> None:
        if self._wanted == 1 and not self._network:
            return
        directory = self.directory / "switch"
        directory.mkdir()
        self._switch = Namespace(
            {
                "name": "switch",
                "directory": str(directory),
                "shared": str(self.shared),
                "libvirtd": False,
                "options": [],
            }
        )
        (directory / "pid").write_text(str(self._switch.pid))
        self._switch.ip("link add lan type bridge forward_delay 0", "link set lan up")
        for host in self.hosts:
            self._connect(host)
        if self._network:
            # Should this process die, the end here goes with the other end in the switch.
            cable = f"dl{self.directory.name[-8:]}"
            _ip(f"link add {cable} type veth peer name machine netns {self._switch.pid}")
            self._cable = cable
            self._switch.ip("link set machine master lan up")
            _ip(f"address add {prefix}.1/24 dev {cable}", f"link set {cable} up")

    def _connect(self, host: QemuHost) -> None:
        assert self._switch is not None
        ends = f"eth0 netns {host.namespace.pid} type veth peer name {host.name}"
        _ip(f"link add {ends} netns {self._switch.pid}")
        self._switch.ip(f"link set {host.name} master lan up")
        host.namespace.ip("link set eth0 master br0 up")

    def _choose_network(self) -> int:
        """Return a network number that no other lab and no interface of this machine has."""
        taken = subprocess.run(["ip", "-o", "address"], capture_output=True, text=True, check=True)
        for number, lock in _network_locks():
            if f" 10.77.{number}." not in taken.stdout:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass  # another lab has it: the next number, then
                else:
                    self._number = lock
                    return number
            lock.close()
        raise LabError("all networks from 10.77.1.0 to 10.77.254.0 are taken on this machine")


def _network_locks() -> Iterator[tuple[int, IO[str]]]:
    locks = cache_directory() / "networks"
    locks.mkdir(exist_ok=True)
    for number in range(1, 255):
        yield number, (locks / f"{number}.lock").open("w")


def _ip(*commands: str) -> None:
    lines = "".join(f"{command}\n" for command in commands)
    done = subprocess.run(
        ["ip", "-batch", "-"], input=lines, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LabError(f"ip could not lay a cable: {done.stderr.strip()}")


def _check_this_machine() -> None:
    if os.geteuid() != 0:
        raise LabError("the lab makes namespaces and bridges: run it as root (sudo make test)")
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [program for program in PROGRAMS if shutil.which(program, path=search) is None]
    if missing:
        raise LabError(f"not installed: {', '.join(missing)}; run make setup")
