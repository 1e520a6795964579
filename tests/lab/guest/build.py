"""Build the guest's kernel, initial RAM disk and disk images from Debian packages.

The result is kept under a digest of this recipe and of the packages that it copies from: asked
for again, it is there at once; changed, it is built anew beside the old one.
"""

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cache import cache_directory, new_entry, only_one
from tests.lab.guest import debian

HERE = Path(__file__).parent
KERNEL_PACKAGE = "linux-image-cloud-amd64"
AGENT_PACKAGE = "qemu-guest-agent"
STUB_PACKAGE = "systemd-boot-efi"
COPIED_FROM = [
    "binutils",
    "busybox-static",
    "e2fsprogs",
    "genisoimage",
    "libc6",
    "mtools",
    "qemu-utils",
]

# In the order in which the guest loads them; what each needs is loaded before it. ext4 is built
# in. The kernel has no AHCI, so a SATA disk or cdrom stays unseen; IDE and virtio-scsi are seen.
MODULES = [
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio_console",
    "virtio-rng",
    "virtio_scsi",
    "ata_piix",
    "sd_mod",
    "sr_mod",
    "isofs",
    "pvpanic-mmio",
    "pvpanic-pci",
    "button",
    "efivarfs",
    "evdev",
    "xen-blkfront",
    "xen-netfront",
    "virtio_balloon",
]
PROGRAMS = ["/usr/sbin/mke2fs", "/usr/sbin/resize2fs"]
IMAGE_SAYS = "made from the image"
IMAGE_MIB = 64
UEFI_IMAGE_MIB = 48
UEFI_CMDLINE = "console=ttyS0 quiet"
UEFI_SECTIONS = {".cmdline": 0x30000, ".linux": 0x2000000, ".initrd": 0x3000000}
"""Where the stub expects what it starts, far enough apart; see systemd-stub(7)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFiles:
    """What a host needs to run the guest."""

    directory: Path

    @property
    def kernel(self) -> Path:
        """The kernel, a bzImage."""
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The initial RAM disk: the whole of the guest's system."""
        return self.directory / "initrd.gz"

    @property
    def image_raw(self) -> Path:
        """A raw disk image with an ext4 file system, whose file ``data`` says ``IMAGE_SAYS``."""
        return self.directory / "lab.raw"

    @property
    def image_qcow2(self) -> Path:
        """The same disk image as qcow2."""
        return self.directory / "lab.qcow2"

    @property
    def image_uefi(self) -> Path:
        """A raw disk image from which firmware of the UEFI kind starts the guest's system."""
        return self.directory / "uefi.raw"

    @property
    def iso(self) -> Path:
        """A small cdrom image with a file ``data``."""
        return self.directory / "lab.iso"


def build_guest() -> GuestFiles:
    """Return the guest's files, built if this recipe has not been built before."""
    copied = debian.installed_versions(COPIED_FROM)
    files = GuestFiles(directory=cache_directory() / "guest" / _digest(copied))
    with only_one("guest"):
        if not files.directory.exists():
            with new_entry(files.directory) as workshop:
                _build(workshop, copied)
    return files


def _digest(versions: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(versions, sort_keys=True).encode())
    for part in sorted(HERE.iterdir()):
        if part.is_file():
            digest.update(part.name.encode() + b"\0" + part.read_bytes())
    return digest.hexdigest()[:12]


def _build(workshop: Path, copied: dict[str, str]) -> None:
    made = GuestFiles(directory=workshop)
    scrap = workshop / "scrap"
    scrap.mkdir()
    kernel_package = next(
        name
        for name in debian.dependencies(KERNEL_PACKAGE, scrap)
        if name.startswith("linux-image-")
    )
    kernel, agent, stub = scrap / "kernel", scrap / "agent", scrap / "stub"
    wanted = {kernel_package: kernel, AGENT_PACKAGE: agent, STUB_PACKAGE: stub}
    fetched = debian.unpack(wanted, scrap)
    (boot_image,) = (kernel / "boot").glob("vmlinuz-*")
    shutil.copy(boot_image, made.kernel)
    root = scrap / "root"
    _lay_out(root, kernel, agent)
    _pack(root, made.initrd)
    _make_images(made, scrap)
    _make_uefi_image(made, stub, scrap)
    shutil.rmtree(scrap)
    (workshop / "built-from.json").write_text(json.dumps(copied | fetched, indent=2) + "\n")


def _lay_out(root: Path, kernel: Path, agent: Path) -> None:
    for name in ("bin", "dev", "etc/acpi/PWRF", "lib/modules", "mnt", "proc", "run", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    for link, target in (("sbin", "bin"), ("usr", "."), ("var", ".")):
        (root / link).symlink_to(target)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    applets = _run(["/bin/busybox", "--list"]).split()
    for applet in applets:
        if not (root / "bin" / applet).exists():
            (root / "bin" / applet).symlink_to("busybox")
    for program in [str(agent / "usr/sbin/qemu-ga"), *PROGRAMS]:
        _copy_program(Path(program), root)
    (root / "etc/mke2fs.conf").write_bytes(Path("/etc/mke2fs.conf").read_bytes())
    _copy_modules(root, kernel)
    _copy_script("init", root / "init")
    _copy_script("shutdown", root / "bin/shutdown")
    (root / "etc/acpi/PWRF/00000080").symlink_to("/bin/shutdown")


def _copy_script(name: str, target: Path) -> None:
    target.unlink(missing_ok=True)
    shutil.copy(HERE / f"{name}.sh", target)
    target.chmod(0o755)


def _copy_program(program: Path, root: Path) -> None:
    target = root / "bin" / program.name
    target.unlink(missing_ok=True)
    shutil.copy(program, target)
    libraries = _run(["ldd", str(program)])
    if "not found" in libraries:
        raise debian.DebianError(f"{program.name} needs a library that is missing:\n{libraries}")
    for library in re.findall(r"(/\S+) \(0x", libraries):
        place = root / library.removeprefix("/").removeprefix("usr/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)


def _copy_modules(root: Path, kernel: Path) -> None:
    (release,) = (kernel / "lib/modules").iterdir()
    _run(["depmod", "--basedir", str(kernel), release.name])
    needs: dict[str, list[str]] = {}
    paths: dict[str, Path] = {}
    for line in (release / "modules.dep").read_text().splitlines():
        path, _, needed = line.partition(":")
        name = Path(path).name.removesuffix(".ko")
        paths[name] = release / path
        # depmod names the nearest need first; what has to be loaded first stands last.
        needs[name] = [Path(need).name.removesuffix(".ko") for need in reversed(needed.split())]
    order: list[str] = []
    for module in MODULES:
        for name in [*needs[module], module]:
            if name not in order:
                order.append(name)
    for name in order:
        shutil.copy(paths[name], root / "lib/modules" / f"{name}.ko")
    (root / "lib/modules/order").write_text("".join(f"{name}\n" for name in order))


def _pack(root: Path, initrd: Path) -> None:
    names = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
    packed = subprocess.run(
        ["cpio", "--create", "--format=newc", "--quiet", "--owner=0:0", "--reproducible"],
        cwd=root,
        input=names.encode(),
        capture_output=True,
        check=True,
    )
    initrd.write_bytes(gzip.compress(packed.stdout, compresslevel=6, mtime=0))


def _make_images(made: GuestFiles, scrap: Path) -> None:
    content = scrap / "content"
    content.mkdir()
    (content / "data").write_text(f"{IMAGE_SAYS}\n")
    with made.image_raw.open("wb") as image:
        os.truncate(image.fileno(), IMAGE_MIB * 1024 * 1024)
    _run(["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", str(content), str(made.image_raw)])
    formats = ["-f", "raw", "-O", "qcow2"]
    _run(["qemu-img", "convert", *formats, str(made.image_raw), str(made.image_qcow2)])
    _run(["genisoimage", "-quiet", "-R", "-V", "LAB", "-o", str(made.iso), str(content)])


def _make_uefi_image(made: GuestFiles, stub: Path, scrap: Path) -> None:
    """Bind kernel, initial RAM disk and command line into one program, as firmware starts it."""
    cmdline, program = scrap / "cmdline", scrap / "bootx64.efi"
    cmdline.write_text(UEFI_CMDLINE)
    contents = {".cmdline": cmdline, ".linux": made.kernel, ".initrd": made.initrd}
    sections = [
        word
        for name, content in contents.items()
        for word in (
            f"--add-section={name}={content}",
            f"--change-section-vma={name}={UEFI_SECTIONS[name]:#x}",
        )
    ]
    source = stub / "usr/lib/systemd/boot/efi/linuxx64.efi.stub"
    _run(["objcopy", *sections, str(source), str(program)])
    image = str(made.image_uefi)
    with made.image_uefi.open("wb") as disk:
        os.truncate(disk.fileno(), UEFI_IMAGE_MIB * 1024 * 1024)
    _run(["mformat", "-i", image, "::"])
    _run(["mmd", "-i", image, "::/EFI", "::/EFI/BOOT"])
    _run(["mcopy", "-i", image, str(program), "::/EFI/BOOT/BOOTX64.EFI"])


def _run(command: list[str]) -> str:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    done = subprocess.run(
        command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise debian.DebianError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
