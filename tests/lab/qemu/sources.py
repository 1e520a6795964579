"""Disks that a host has without domops: a block device, a file, an export of a server."""

from tests.lab.qemu.host import QemuHost

FOLDER = "/srv/shared/given"
"""Where their bytes lie on the host; no storage pool is there."""

FILE = f"{FOLDER}/data.qcow2"
NBD_HOST, NBD_PORT, EXPORT = "127.0.0.1", 10809, "data"
SIZE_MIB = 16


class Sources:
    """Three images of ``SIZE_MIB``, each of another sort, until ``clear``."""

    def __init__(self, host: QemuHost) -> None:
        """Make the file, give a second one to a loop device, and serve a third over NBD."""
        self._run = host.run
        size, exported = f"{SIZE_MIB}M", f"{FOLDER}/exported.raw"
        self._run("mkdir", FOLDER)
        self._run("truncate", f"--size={size}", exported, f"{FOLDER}/device.raw")
        self._run("qemu-img", "create", "-q", "-f", "qcow2", FILE, size)
        self.device = self._run("losetup", "--find", "--show", f"{FOLDER}/device.raw").strip()
        server = ("qemu-nbd", "--fork", "--persistent", f"--bind={NBD_HOST}", f"--port={NBD_PORT}")
        image = (f"--export-name={EXPORT}", "--format=raw", exported)
        self._run(*server, f"--pid-file={FOLDER}/nbd.pid", *image)

    def clear(self) -> None:
        """Take them away; no guest may have them any more."""
        self._run("losetup", "--detach", self.device)
        self._run("sh", "-c", f"kill $(cat {FOLDER}/nbd.pid)")
        self._run("rm", "-r", FOLDER)
