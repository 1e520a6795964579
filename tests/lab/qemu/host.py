"""One private libvirt/QEMU host, made of namespaces and directories of its own."""

import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import libvirt

from tests.lab.cache import cache_directory, new_entry, only_one
from tests.lab.guest import GuestFiles
from tests.lab.qemu.errors import LabError
from tests.lab.qemu.namespace import Namespace

SOCKET_PATH_AT_MOST = 107  # characters that the kernel takes for a socket's address

KERNEL = "/boot/vmlinuz"
INITRD = "/boot/initrd.gz"
GUESTS_POOL, GUESTS_DIRECTORY = "guests", "/var/lib/libvirt/images"
IMAGES_POOL, IMAGES_DIRECTORY = "images", "/var/lib/libvirt/templates"
BRIDGE = "br0"
NETWORK = "lab"

LIBVIRTD_CONF = """\
host_uuid = "{uuid}"
auth_unix_rw = "none"
auth_unix_ro = "none"
auth_tcp = "none"
listen_tls = 0
listen_tcp = {listen}
listen_addr = "{address}"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""

# No cgroups, no security labels and no log daemon: they are the machine's, and shared.
QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
swtpm_user = "root"
swtpm_group = "root"
"""


class QemuHost:
    """A host with libvirtd, pools ``guests`` and ``images``, bridge ``br0`` and network ``lab``.

    The guest's kernel and initial RAM disk lie at ``KERNEL`` and ``INITRD`` as the host sees it.
    """

    def __init__(self, name: str, *, directory: Path, address: str, listen: bool) -> None:
        """Lay out the host's directories; nothing runs before ``boot``."""
        self.name = name
        self.address = address
        self.uuid = str(uuid.uuid4())
        self.directory = directory
        self._listen = listen
        self._namespace: Namespace | None = None

    @property
    def uri(self) -> str:
        """The URI by which this machine reaches the host's libvirtd."""
        return f"qemu+unix:///system?socket={self._socket}"

    @property
    def tcp_uri(self) -> str:
        """The URI by which the lab's other hosts reach it, and this machine if it has a cable."""
        return f"qemu+tcp://{self.address}/system"

    @property
    def images(self) -> Path:
        """Where the files of the pool ``images`` lie, as this machine sees them."""
        return self.directory / "lib/templates"

    @property
    def namespace(self) -> Namespace:
        """The namespaces in which the host runs."""
        if self._namespace is None:
            raise LabError(f"{self.name} is not running")
        return self._namespace

    @property
    def _socket(self) -> Path:
        return self.directory / "run/libvirt-sock"

    def connect(self) -> libvirt.virConnect:
        """Open a connection to the host's libvirtd."""
        return libvirt.open(self.uri)

    def run(self, *command: str) -> str:
        """Run a command on the host and return what it printed."""
        return self.namespace.run(command)

    def lay_out(self, guest: GuestFiles, neighbours: dict[str, str]) -> None:
        """Make the host's directories and settings."""
        if len(str(self._socket)) > SOCKET_PATH_AT_MOST:
            raise LabError(f"{self._socket} is too long for a socket: choose a shorter TMPDIR")
        for name in ("etc/qemu/networks", "lib/images", "lib/templates", "cache", "log", "run"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        listen = int(self._listen)
        conf = LIBVIRTD_CONF.format(uuid=self.uuid, listen=listen, address=self.address)
        (self.directory / "etc/libvirtd.conf").write_text(conf)
        (self.directory / "etc/qemu.conf").write_text(QEMU_CONF)
        (self.directory / "etc/libvirt.conf").write_text('uri_default = "qemu:///system"\n')
        names = {"localhost": "127.0.0.1", **neighbours}
        lines = "".join(f"{address} {name}\n" for name, address in names.items())
        (self.directory / "hosts").write_text(lines)
        boot = self.directory / "boot"
        boot.mkdir(exist_ok=True)
        for source, target in ((guest.kernel, KERNEL), (guest.initrd, INITRD)):
            _copy(source, boot / Path(target).name)
        for image in (guest.image_raw, guest.image_qcow2, guest.iso):
            _copy(image, self.images / image.name)
        self._take_known_capabilities()

    def boot(self, shared: Path) -> None:
        """Make the namespaces; the host waits in them for its cables."""
        options = ["--daemon", "--pid-file", "/run/libvirt/libvirtd.pid"]
        self._namespace = Namespace(
            {
                "name": self.name,
                "directory": str(self.directory),
                "shared": str(shared),
                "libvirtd": True,
                "options": [*options, *(["--listen"] if self._listen else [])],
            }
        )
        (self.directory / "pid").write_text(str(self._namespace.pid))
        self.namespace.ip(
            "link set lo up",
            f"link add {BRIDGE} type bridge forward_delay 0",
            f"address add {self.address}/24 dev {BRIDGE}",
            f"link set {BRIDGE} up",
        )

    def start(self) -> None:
        """Start libvirtd; the cables are laid."""
        self.namespace.go()

    def furnish(self) -> None:
        """Wait for libvirtd, and define the pools and the network that are not there yet."""
        self.namespace.wait_until_ready()
        with contextlib.closing(self.connect()) as connection:
            pools = {pool.name() for pool in connection.listAllStoragePools()}
            wanted = {GUESTS_POOL: GUESTS_DIRECTORY, IMAGES_POOL: IMAGES_DIRECTORY}
            for name, directory in wanted.items():
                if name not in pools:
                    pool = connection.storagePoolDefineXML(
                        f"<pool type='dir'><name>{name}</name>"
                        f"<target><path>{directory}</path></target></pool>"
                    )
                    pool.setAutostart(1)
                    pool.create()
            if NETWORK not in {network.name() for network in connection.listAllNetworks()}:
                network = connection.networkDefineXML(
                    f"<network><name>{NETWORK}</name><forward mode='bridge'/>"
                    f"<bridge name='{BRIDGE}'/></network>"
                )
                network.setAutostart(1)
                network.create()
            connection.getCapabilities()  # asked once, it is in the cache for the next run

    def libvirtd_pid(self) -> int:
        """Return libvirtd's number as the host sees it."""
        return int((self.directory / "run/libvirtd.pid").read_text())

    def libvirtd_pid_here(self) -> int:
        """Return libvirtd's number as this machine sees it."""
        inside = Path(f"/proc/{self.namespace.pid}/ns/pid").readlink()
        number = self.libvirtd_pid()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended, or is closed to us
                if (process / "ns/pid").readlink() == inside and number == _innermost(process):
                    return int(process.name)
        raise LabError(f"libvirtd of {self.name} is not running")

    def kill_libvirtd(self) -> None:
        """Kill libvirtd without warning; guests go on."""
        self.run("kill", "-KILL", str(self.libvirtd_pid()))

    def start_libvirtd(self) -> None:
        """Start libvirtd again after ``kill_libvirtd``; it returns when it listens."""
        listen = ["--listen"] if self._listen else []
        self.run("libvirtd", "--daemon", "--pid-file", "/run/libvirt/libvirtd.pid", *listen)

    def unplug(self) -> None:
        """Pull the host's cable."""
        self.namespace.ip("link set eth0 down")

    def plug(self) -> None:
        """Put the host's cable back."""
        self.namespace.ip("link set eth0 up")

    def crash(self) -> None:
        """Cut the host's power: libvirtd and all guests are gone at once, the disks stay."""
        self.namespace.crash()
        self._namespace = None
        shutil.rmtree(self.directory / "run")
        (self.directory / "run").mkdir()

    def stop(self) -> None:
        """End the host and everything on it."""
        if self._namespace is not None:
            self._namespace.end()
            self._namespace = None
            self._keep_known_capabilities()

    @property
    def _capabilities(self) -> Path:
        return self.directory / "cache/qemu/capabilities"

    def _take_known_capabilities(self) -> None:
        """Spare libvirtd the probing of QEMU, which takes most of a second."""
        known = cache_directory() / "libvirt-capabilities"
        with only_one("libvirt-capabilities"):
            if known.exists() and not self._capabilities.exists():
                shutil.copytree(known, self._capabilities)

    def _keep_known_capabilities(self) -> None:
        """Keep what libvirtd found out; it checks by itself whether that still fits its QEMU."""
        if not self._capabilities.exists():
            return
        known = cache_directory() / "libvirt-capabilities"
        with only_one("libvirt-capabilities"):
            had = {path.name: path.read_bytes() for path in _files(known)}
            has = {path.name: path.read_bytes() for path in _files(self._capabilities)}
            if had != has:
                with new_entry(known) as workshop:
                    for name, content in has.items():
                        (workshop / name).write_bytes(content)


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.glob("*") if path.is_file())


def _innermost(process: Path) -> int:
    """The number of a process in the namespace that it is in itself."""
    status = (process / "status").read_text()
    return int(status.partition("\nNSpid:")[2].partition("\n")[0].split()[-1])


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        command = ["cp", "--reflink=auto", "--sparse=always", os.fspath(source), os.fspath(target)]
        subprocess.run(command, check=True)
