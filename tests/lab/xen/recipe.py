"""What the lab's dom0 is made of, and the digests under which its parts are cached.

A part is built again when something that goes into it changes, and never otherwise: the digest of
the package tree covers the list of packages and what is pruned from it, the digest of the image
everything that this folder puts on top.
"""

import hashlib
from pathlib import Path

from tests.lab.cache import cache_directory

HERE = Path(__file__).resolve().parent
FILES = HERE / "files"
SUITE = "bookworm"

PACKAGES = (
    # Xen, its tools and the kernel of dom0; the cloud kernel is for the guests, it is smaller.
    "xen-hypervisor-4.17-amd64",
    "xen-utils-4.17",
    "xen-utils-common",
    "xenstore-utils",
    "qemu-system-xen",
    "linux-image-amd64",
    "linux-image-cloud-amd64",
    "libvirt-daemon",
    "libvirt-daemon-driver-xen",
    # What a system has without being asked, named because nothing is installed, only unpacked.
    "base-files",
    "bash",
    "busybox-static",
    "coreutils",
    "dash",
    "findutils",
    "gawk",
    "grep",
    "iproute2",
    "kmod",
    "libc-bin",
    "mount",
    "procps",
    "python3",
    "qemu-utils",
    "sed",
    "util-linux",
)

# What dom0 loads to find its root disk, in its first stage.
DOM0_EARLY_MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")

# What dom0 may load later on.
DOM0_MODULES = (
    *DOM0_EARLY_MODULES,
    "xenfs",
    "xen-evtchn",
    "xen-gntdev",
    "xen-gntalloc",
    "xen-privcmd",
    "xen-blkback",
    "xen-netback",
    "virtio_net",
    "bridge",
    "tun",
    "loop",
)

GUEST_MODULES = ("xen-blkfront", "xen-netfront", "isofs")

# Where the guests' kernel lies in dom0. A PV guest starts a good deal faster from the unpacked one.
GUEST_BOOT = "/boot/guest"
GUEST_KERNEL = f"{GUEST_BOOT}/vmlinux"
GUEST_KERNEL_COMPRESSED = f"{GUEST_BOOT}/vmlinuz"
GUEST_INITRD = f"{GUEST_BOOT}/initrd.img"


def cache() -> Path:
    """Where everything of this lab that is built or runs is kept."""
    return cache_directory() / "xen"


def tree_digest() -> str:
    """Name the tree of unpacked packages by what decides about its content."""
    pruned = (FILES / "prune-root").read_bytes()
    return _digest(SUITE.encode(), *(package.encode() for package in PACKAGES), pruned)


def image_digest() -> str:
    """Name the image of dom0 by the tree it stands on and all that this folder adds."""
    sources = sorted([HERE / "recipe.py", HERE / "image.py", *FILES.iterdir()])
    return _digest(tree_digest().encode(), *(path.read_bytes() for path in sources))


def _digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)
    return whole.hexdigest()[:16]
