"""Build the lab's dom0 from Debian packages, once.

``build`` returns the folder with the finished image: Xen, dom0's kernel and initrd, and a root file
system that holds the guests' kernel too. Everything comes through apt from the sources that this
machine is configured with; packages are unpacked, not installed, so that nothing of them ever runs
here. A second call returns at once.
"""

import contextlib
import gzip
import lzma
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cache import only_one
from tests.lab.xen import recipe
from tests.lab.xen.errors import LabError
from tests.lab.xen.recipe import FILES

TOOLS = {
    "apt-config": "apt",
    "cpio": "cpio",
    "depmod": "kmod",
    "ldconfig": "libc-bin",
    "lz4": "lz4",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "tar": "tar",
}
# The folders that an ordinary user's PATH may lack.
SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
FREE_SPACE_GIB = 4
FREE_IN_ROOT_MIB = 1280


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A finished dom0: what its machine boots from. Nobody writes to these files any more."""

    folder: Path
    digest: str

    @property
    def xen(self) -> Path:
        """The hypervisor itself."""
        return self.folder / "xen"

    @property
    def kernel(self) -> Path:
        """The kernel of dom0, unpacked."""
        return self.folder / "vmlinux-dom0"

    @property
    def initrd(self) -> Path:
        """The first stage of dom0."""
        return self.folder / "initrd-dom0"

    @property
    def root(self) -> Path:
        """The root file system of dom0."""
        return self.folder / "root.ext4"


def build(say: Callable[[str], None] = lambda _: None) -> Image:
    """Return the image that the recipe describes, made now if it was not made before."""
    digest = recipe.image_digest()
    image = Image(folder=recipe.cache() / "images" / digest, digest=digest)
    if image.folder.exists():
        return image
    _check_the_machine()
    with only_one("xen-build"):
        if image.folder.exists():  # another one built it while this one waited
            return image
        tree = _build_tree(say)
        began = time.monotonic()
        with _fresh_folder(image.folder.parent) as work:
            made = work / "made"
            made.mkdir()
            _build_image(tree, work, made)
            made.rename(image.folder)
        _remove_unused_images(image)
        say(f"image of dom0 made in {time.monotonic() - began:.0f} s")
    return image


def _remove_unused_images(image: Image) -> None:
    """Remove what an older recipe made, unless a machine still stands on it."""
    places = ("runs/*/xen", "standing/*/xen", "images/*/booting-*/xen")
    links = (link for place in places for link in recipe.cache().glob(place))
    used = {link.resolve().parent for link in links} | {image.folder}
    for folder in image.folder.parent.iterdir():
        if folder not in used:
            shutil.rmtree(folder)


def missing(tools: dict[str, str]) -> list[str]:
    """Name the Debian packages whose program is not on this machine."""
    return sorted(p for tool, p in tools.items() if shutil.which(tool, path=SEARCH_PATH) is None)


def require(tools: dict[str, str]) -> None:
    """Refuse, naming the packages to install, unless every program is there."""
    if absent := missing(tools):
        names = " ".join(absent)
        raise LabError(f"the Xen lab needs programs that are missing: apt-get install {names}")


def _check_the_machine() -> None:
    require(TOOLS)
    where = recipe.cache()
    where.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(where).free >> 30
    if free < FREE_SPACE_GIB:
        raise LabError(f"the Xen lab is built in {where}, where {free} GiB are free: it needs 4")


@contextlib.contextmanager
def _fresh_folder(parent: Path) -> Iterator[Path]:
    """Give a folder to work in, beside where its result goes, which is gone afterwards."""
    parent.mkdir(parents=True, exist_ok=True)
    for stale in parent.glob("work-*"):  # of a build that was killed: the lock says nobody has it
        shutil.rmtree(stale)
    with tempfile.TemporaryDirectory(prefix="work-", dir=parent) as name:
        yield Path(name)


def _run(command: Sequence[str | Path], *, doing: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LabError(f"{doing}: {command[0]} ended with {done.returncode}\n{done.stderr}")
    return done.stdout


# ------------------------------------------------------------------------------ the package tree


def _build_tree(say: Callable[[str], None]) -> Path:
    """Return the archive of all packages, unpacked one over the other."""
    tree = recipe.cache() / "trees" / f"{recipe.tree_digest()}.tar"
    if tree.exists():
        return tree
    say("fetching and unpacking the Debian packages of dom0")
    began = time.monotonic()
    with _fresh_folder(tree.parent) as work:
        _run(
            [
                "mmdebstrap",
                "--variant=extract",
                "--format=tar",
                "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
                f"--extract-hook={FILES / 'prune-root'}",
                *(f"--aptopt={option}" for option in _apt_options()),
                f"--include={','.join(recipe.PACKAGES)}",
                recipe.SUITE,
                work / "tree.tar",
                *_apt_sources(),
            ],
            doing="fetching the packages of dom0",
        )
        (work / "tree.tar").rename(tree)
    say(f"packages unpacked in {time.monotonic() - began:.0f} s")
    return tree


def _apt_sources() -> list[str]:
    """Name the source files of this machine that hold Debian's own packages."""
    listed = _run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(SOURCESENTRY)"],
        doing="asking apt for its sources",
    )
    files: dict[str, None] = {}
    for line in listed.splitlines():
        origin, codename, entry = line.split(" ", 2)
        if origin == "Debian" and codename.startswith(recipe.SUITE):
            files[entry.rpartition(":")[0]] = None
    if not files:
        raise LabError(
            f"apt on this machine has no sources of Debian {recipe.SUITE}, whose Xen the lab uses; "
            "if they are configured, run apt-get update first"
        )
    return list(files)


def _apt_options() -> Iterator[str]:
    """Carry over what decides whether apt gets through from here: proxies, retries, checks."""
    yield 'APT::Install-Recommends "false"'
    yield 'Acquire::Languages "none"'
    yield 'Acquire::Retries "3"'
    kept = ("Acquire::http", "Acquire::https::", "Acquire::Check-", "Acquire::ForceIPv")
    for line in _run(["apt-config", "dump"], doing="asking apt for its settings").splitlines():
        key, _, value = line.rstrip(";").partition(" ")
        if key.startswith(kept) and value not in {"", '""'}:
            yield f"{key} {value}"


# ------------------------------------------------------------------------------------- the image


def _build_image(tree: Path, work: Path, made: Path) -> None:
    root, kernels = work / "root", work / "kernels"
    for folder, chosen in (
        (root, ["--exclude=./boot/*", "--exclude=./usr/lib/modules/*"]),
        (kernels, ["--wildcards", "./boot/*", "./usr/lib/modules/*", "./lib"]),
    ):
        folder.mkdir()
        _run(["tar", "-C", folder, "-xf", tree, *chosen], doing="unpacking dom0")
    guest = _Kernel.found(kernels, ends="-cloud-amd64")
    dom0 = _Kernel.found(kernels, ends="-amd64", other_than=guest.release)
    busybox = root / "usr/bin/busybox"

    packed = next((kernels / "boot").glob("xen-4.*.gz"))
    (made / "xen").write_bytes(gzip.decompress(packed.read_bytes()))
    (made / "vmlinux-dom0").write_bytes(_unpacked(dom0.image.read_bytes()))
    _pack_initrd(
        made / "initrd-dom0",
        work / "initrd-dom0",
        modules=dom0.closure(recipe.DOM0_EARLY_MODULES),
        programs={"bin/busybox": busybox, "init": FILES / "dom0-initrd-init"},
    )

    boot = root / recipe.GUEST_BOOT.lstrip("/")
    boot.mkdir(parents=True)
    shutil.copy(guest.image, root / recipe.GUEST_KERNEL_COMPRESSED.lstrip("/"))
    (root / recipe.GUEST_KERNEL.lstrip("/")).write_bytes(_unpacked(guest.image.read_bytes()))
    _pack_initrd(
        root / recipe.GUEST_INITRD.lstrip("/"),
        work / "initrd-guest",
        modules=guest.closure(recipe.GUEST_MODULES),
        programs={
            "bin/busybox": busybox,
            "init": FILES / "guest-init",
            "sbin/poweroff": FILES / "guest-poweroff",
            "sbin/reboot": FILES / "guest-poweroff",
        },
        applets=("cat", "insmod", "ip", "mkdir", "mount", "nproc", "sh", "sleep"),
    )

    for module in dom0.closure(recipe.DOM0_MODULES):
        target = root / module.relative_to(kernels)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(module, target)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copy(dom0.modules / name, root / dom0.modules.relative_to(kernels) / name)
    _run(["depmod", "-b", root, dom0.release], doing="indexing dom0's modules")
    _furnish(root)
    _make_file_system(root, made / "root.ext4")


def _furnish(root: Path) -> None:
    """Put in place what the packages' own installation would have left, and the lab's settings."""
    for name, target in {"awk": "gawk", "which": "busybox", "ping": "busybox"}.items():
        program = root / "usr/bin" / name
        if not program.exists():
            program.symlink_to(target)
    etc = root / "etc"
    for name, target in {"var/run": "/run", "var/lock": "/run/lock"}.items():
        if (root / name).is_dir():
            (root / name).rmdir()  # a package brings it empty
        (root / name).symlink_to(target)
    (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (etc / "group").write_text("root:x:0:\ntty:x:5:\ndisk:x:6:\nkvm:x:104:\n")
    for name in ("dom0-init:lab-init", "serve-command:lab-serve-command"):
        source, _, target = name.partition(":")
        shutil.copy(FILES / source, root / "usr/sbin" / target)
        (root / "usr/sbin" / target).chmod(0o755)
    pools = etc / "libvirt/storage"
    (pools / "autostart").mkdir(parents=True)
    shutil.copy(FILES / "libvirtd.conf", etc / "libvirt/libvirtd.conf")
    shutil.copy(FILES / "guests-pool.xml", pools / "guests.xml")
    (pools / "autostart/guests.xml").symlink_to("/etc/libvirt/storage/guests.xml")
    # Memory is dom0's from the start; libvirt must not try to take it back from there.
    (etc / "libvirt/libxl.conf").write_text("autoballoon = 0\n")
    for folder in ("var/lib/libvirt/images", "var/log/libvirt/libxl", "var/log/xen", "var/lib/xen"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    # The package brings drivers for hypervisors that are not here; each would be started.
    drivers = root / "usr/lib/x86_64-linux-gnu/libvirt/connection-driver"
    for driver in drivers.iterdir():
        if driver.stem.removeprefix("libvirt_driver_") not in {
            "libxl",
            "network",
            "nodedev",
            "storage",
        }:
            driver.unlink()
    # libvirt decodes the processor it finds. Under Xen the emulated one lacks this one feature.
    model = root / "usr/share/libvirt/cpu_map/x86_qemu64.xml"
    lines = model.read_text().splitlines(keepends=True)
    model.write_text("".join(line for line in lines if "name='sep'" not in line))
    _run(["ldconfig", "-r", root], doing="indexing dom0's libraries")


def _make_file_system(root: Path, target: Path) -> None:
    used = int(_run(["du", "-sm", root], doing="measuring dom0").split()[0])
    with target.open("wb") as file:
        file.truncate((used * 11 // 10 + FREE_IN_ROOT_MIB) << 20)
    _run(
        ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", root, target],
        doing="making dom0's root file system",
    )


def _pack_initrd(
    target: Path,
    work: Path,
    *,
    modules: Iterable[Path],
    programs: dict[str, Path],
    applets: Iterable[str] = (),
) -> None:
    """Write an initrd of these programs and modules; it lists the modules in their order."""
    for folder in ("bin", "sbin", "dev", "modules"):
        (work / folder).mkdir(parents=True)
    for name, source in programs.items():
        shutil.copy(source, work / name)
        (work / name).chmod(0o755)
    for applet in applets:
        (work / "bin" / applet).symlink_to("busybox")
    order = []
    for module in modules:
        shutil.copy(module, work / "modules" / module.name)
        order.append(module.name)
    (work / "modules.order").write_text("".join(f"{name}\n" for name in order))
    names = sorted(str(path.relative_to(work)) for path in work.rglob("*"))
    subprocess.run(
        ["cpio", "--quiet", "--create", "--format=newc", "--owner=+0:+0", "-F", str(target)],
        cwd=work,
        input="\n".join(names),
        text=True,
        check=True,
    )


# ----------------------------------------------------------------------------------- the kernels


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kernel:
    """A kernel of the package tree and its modules."""

    release: str
    image: Path
    modules: Path

    @classmethod
    def found(cls, kernels: Path, *, ends: str, other_than: str = "") -> "_Kernel":
        (release,) = (
            folder.name
            for folder in (kernels / "usr/lib/modules").iterdir()
            if folder.name.endswith(ends) and folder.name != other_than
        )
        _run(["depmod", "-b", kernels, release], doing="indexing modules")
        return cls(
            release=release,
            image=kernels / "boot" / f"vmlinuz-{release}",
            modules=kernels / "usr/lib/modules" / release,
        )

    def closure(self, wanted: Iterable[str]) -> list[Path]:
        """List the modules and all they need, each after what it needs."""
        needs: dict[str, list[str]] = {}
        for line in (self.modules / "modules.dep").read_text().splitlines():
            name, _, rest = line.partition(":")
            needs[_module_name(name)] = [name, *rest.split()]
        builtin = (self.modules / "modules.builtin").read_text().splitlines()
        in_kernel = {_module_name(line) for line in builtin}
        order: dict[str, None] = {}
        for name in (_module_name(name) for name in wanted):
            if name in in_kernel:
                continue
            if name not in needs:
                raise LabError(f"kernel {self.release} has no module {name}")
            order.update(dict.fromkeys(reversed(needs[name])))
        return [self.modules / path for path in order]


def _module_name(path: str) -> str:
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def _unpacked(compressed: bytes) -> bytes:
    """Take the kernel proper out of a bzImage, by the header that Linux's boot protocol lays down.

    Xen and libxl could do it themselves, but emulated that takes seconds a boot.
    """
    setup_sectors = compressed[0x1F1] or 4
    offset = int.from_bytes(compressed[0x248:0x24C], "little")
    length = int.from_bytes(compressed[0x24C:0x250], "little")
    start = (setup_sectors + 1) * 512 + offset
    payload = compressed[start : start + length]
    if payload.startswith(b"\xfd7zXZ\x00"):
        kernel = lzma.LZMADecompressor().decompress(payload)
    elif payload.startswith(b"\x1f\x8b"):
        kernel = gzip.decompress(payload)
    elif payload.startswith(b"\x02\x21\x4c\x18"):  # lz4; the length of the kernel follows it
        unpack = ["lz4", "-dc"]
        kernel = subprocess.run(unpack, input=payload[:-4], capture_output=True, check=True).stdout
    else:
        raise LabError(f"a kernel compressed in a way the lab does not know: {payload[:6]!r}")
    if not kernel.startswith(b"\x7fELF"):
        raise LabError("what was inside the compressed kernel is not a program")
    return kernel
