"""The first process of a lab host: it builds the host's own root, starts libvirtd, and reaps.

Run by ``unshare`` in mount, PID, UTS, IPC and network namespaces of its own. The root it builds is
a tmpfs with the machine's ``/usr`` (read-only), a few files of its ``/etc``, and directories of the
host's own where libvirt keeps its things; so nothing of the machine's libvirt can be seen, let
alone touched. ``/dev`` has no ``kvm``: emulation is all there is.

It lives as long as somebody holds the other end of its standard input. When that ends, however it
ends, this process exits, and the kernel takes everything in the namespaces with it: libvirtd,
guests, mounts, bridges, cables.

Only the standard library is imported, all of it at the top: after the change of root the machine's
Python can no longer be found.
"""

import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TypedDict


class Orders(TypedDict):
    """What the host is to be; written as JSON by the lab, read here."""

    name: str
    directory: str  # of the host's own: etc, lib, cache, log, run, boot, shared, root
    shared: str  # a directory common to all hosts of the lab
    libvirtd: bool  # false for the switch, which is nothing but a network namespace
    options: list[str]  # of libvirtd


PRIVATE = {
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
    "run": "/run/libvirt",
}
FROM_ETC = [
    "alternatives",
    "gnutls",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mke2fs.conf",
    "nsswitch.conf",
    "protocols",
    "services",
    "swtpm-localca.conf",
    "swtpm-localca.options",
    "swtpm_setup.conf",
    "xml",
]
# The host's own people: libvirt looks for its own even where everything runs as root.
USERS = """\
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
libvirt-qemu:x:64055:64055:libvirt:/var/lib/libvirt:/usr/sbin/nologin
"""
GROUPS = """\
root:x:0:
tty:x:5:
disk:x:6:
nogroup:x:65534:
kvm:x:105:
libvirt:x:64054:
libvirt-qemu:x:64055:
"""
DEVICES = ["null", "zero", "full", "random", "urandom", "tty", "net/tun", "fuse", "loop-control"]
LOOPS = 8


def main() -> int:
    """Be the first process of a host until the lab lets go of it."""
    orders: Orders = json.loads(Path(sys.argv[1]).read_text())
    # Before a new /proc hides it: the number under which the machine knows this process.
    print(Path("/proc/self").readlink().name, flush=True)
    socket.sethostname(orders["name"])
    if orders["libvirtd"]:
        _build_root(orders)
    # The lab lays the cables now that it knows the process; one byte says that it has.
    if not os.read(0, 1):
        return 0
    children, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    if orders["libvirtd"]:
        subprocess.run(["/usr/sbin/libvirtd", *orders["options"]], check=True)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    print("ready", flush=True)
    while True:
        _reap()
        readable, _, _ = select.select([0, children], [], [])
        if children in readable:
            os.read(children, 4096)
        if 0 in readable and not os.read(0, 4096):
            return 0


def _reap() -> None:
    """Collect what was orphaned: libvirt takes a dead QEMU that nobody collects for a live one."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return


def _build_root(orders: Orders) -> None:
    own = Path(orders["directory"])
    root = own / "root"
    root.mkdir(exist_ok=True)
    _mount("none", Path("/"), "--make-rprivate")
    _mount("tmpfs", root, "-t", "tmpfs", "-o", "mode=755")
    for name in ("usr", "etc", "dev", "proc", "sys", "tmp", "run", "var", "root", "srv", "machine"):
        (root / name).mkdir()
    _bind(Path("/usr"), root / "usr", read_only=True)
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            (root / name).symlink_to(path.readlink())
        elif path.is_dir():
            (root / name).mkdir()
            _bind(path, root / name, read_only=True)
    for name in FROM_ETC:
        source = Path("/etc", name)
        if source.is_dir():
            shutil.copytree(source, root / "etc" / name, symlinks=True)
        elif source.exists():
            shutil.copy(source, root / "etc" / name)
    (root / "etc/passwd").write_text(USERS)
    (root / "etc/group").write_text(GROUPS)
    (root / "etc/hosts").write_text((own / "hosts").read_text())
    (root / "var/run").symlink_to("/run")
    (root / "var/lock").symlink_to("/run/lock")
    (root / "run/lock").mkdir()
    # Where swtpm keeps the authority that vouches for the modules that it makes.
    (root / "var/lib/swtpm-localca").mkdir(parents=True)
    for directory, place in PRIVATE.items():
        _bind(own / directory, root / place.removeprefix("/"))
    _bind(own / "boot", root / "boot")
    _bind(Path(orders["shared"]), root / "srv/shared")
    _mount("proc", root / "proc", "-t", "proc")
    _mount("sysfs", root / "sys", "-t", "sysfs")
    _make_devices(root / "dev")
    os.chdir(root)
    subprocess.run(["/usr/sbin/pivot_root", ".", "machine"], check=True)
    os.chdir("/")
    subprocess.run(["/usr/bin/umount", "--lazy", "/machine"], check=True)
    Path("/machine").rmdir()
    os.environ.clear()
    os.environ.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL="C.UTF-8", HOME="/root")


def _make_devices(dev: Path) -> None:
    _mount("dev", dev, "-t", "tmpfs", "-o", "mode=755")
    for name in ("net", "pts", "shm", "mapper"):
        (dev / name).mkdir()
    for name in [*DEVICES, *(f"loop{number}" for number in range(LOOPS))]:
        known = Path("/dev", name)
        if known.exists():
            there = known.stat()
            os.mknod(dev / name, stat.S_IFMT(there.st_mode) | 0o666, there.st_rdev)
            (dev / name).chmod(0o666)
    _mount("devpts", dev / "pts", "-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620")
    _mount("shm", dev / "shm", "-t", "tmpfs")
    (dev / "ptmx").symlink_to("pts/ptmx")
    (dev / "fd").symlink_to("/proc/self/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        (dev / name).symlink_to(f"/proc/self/fd/{number}")


def _bind(source: Path, target: Path, *, read_only: bool = False) -> None:
    target.mkdir(parents=True, exist_ok=True)
    _mount(str(source), target, "--bind")
    if read_only:
        _mount("none", target, "-o", "remount,bind,ro")


def _mount(what: str, where: Path, *options: str) -> None:
    subprocess.run(["/usr/bin/mount", *options, what, str(where)], check=True)


if __name__ == "__main__":
    sys.exit(main())
