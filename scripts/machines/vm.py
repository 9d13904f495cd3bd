"""Boot Debian's kernel of an architecture under QEMU's system emulation, with a root of packages, and run a script."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import debian

HERE = Path(__file__).resolve().parent
MODULES = ("virtio_pci", "virtio_mmio", "9pnet_virtio", "9p", "overlay")
HOURS = 3


class Machine(NamedTuple):
    """How QEMU is called for an architecture; ``kernel_arch`` is that of the kernel, if its programs are others'."""

    kernel: str  # the Debian package
    qemu: str
    console: str
    device: str = "virtio-9p-pci"
    kernel_arch: str = ""


# With -icount the processor's counters count instructions, so that there is a PMU with repeatable counts.
MACHINES = {
    "amd64": Machine("linux-image-amd64", "qemu-system-x86_64 -M q35 -cpu max", "ttyS0"),
    "arm64": Machine(
        "linux-image-arm64",
        "qemu-system-aarch64 -M virt,gic-version=3 -cpu cortex-a57 -icount shift=1,sleep=off",
        "ttyAMA0",
    ),
    "armhf": Machine(
        "linux-image-arm64",
        "qemu-system-aarch64 -M virt,gic-version=3 -cpu cortex-a57 -icount shift=1,sleep=off",
        "ttyAMA0",
        kernel_arch="arm64",
    ),
    "i386": Machine("linux-image-amd64", "qemu-system-x86_64 -M q35 -cpu max", "ttyS0", kernel_arch="amd64"),
    "ppc64el": Machine(
        "linux-image-powerpc64le", "qemu-system-ppc64 -M pseries,x-vof=on -vga none -cpu power9", "hvc0"
    ),
    "riscv64": Machine("linux-image-riscv64", "qemu-system-riscv64 -M virt -cpu rv64,sscofpmf=true", "ttyS0"),
    "s390x": Machine("linux-image-s390x", "qemu-system-s390x -M s390-ccw-virtio -cpu max", "ttysclp0", "virtio-9p-ccw"),
}


def kernel(arch: str) -> Path:
    """Return a directory with the kernel (vmlinuz) and an initramfs, made of Debian's packages if they are not there."""
    machine = MACHINES[arch]
    arch = machine.kernel_arch or arch
    made = debian.HOME / "kernels" / f"{debian.SUITE}-{arch}"
    if (made / "initrd").exists():
        return made
    print(f"{arch}: unpacking {machine.kernel}", flush=True)
    made.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=debian.HOME) as folder:
        unpacked = Path(folder)
        for package in debian.download(arch, machine.kernel, "busybox-static"):
            if package.name.startswith(("linux-image-", "linux-modules-", "linux-binary-", "busybox-static")):
                debian.unpack(package, unpacked)
            else:
                package.unlink()
        image = max(unpacked.glob("boot/vmlinu[xz]-*"), key=lambda path: path.stat().st_size)
        shutil.copy(image, made / "vmlinuz")
        modules = next(unpacked.glob("**/lib/modules/*"))
        _initramfs(unpacked, modules, made / "initrd")
    return made


def _initramfs(unpacked: Path, modules: Path, archive: Path) -> None:
    tree = unpacked / "initramfs"
    for name in ("bin", "proc", "sys", "dev", "new", "lower", "upper", "modules"):
        (tree / name).mkdir(parents=True)
    shutil.copy(next(unpacked.glob("**/bin/busybox")), tree / "bin" / "busybox")
    (tree / "bin" / "sh").symlink_to("busybox")
    shutil.copy(HERE / "init.sh", tree / "init")
    (tree / "init").chmod(0o755)
    base, release = modules.parents[2], modules.name
    path = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    subprocess.run(["depmod", "-b", str(base), release], check=True, env=path)
    order: list[str] = []
    for name in MODULES:
        command = ["modprobe", "-d", str(base), "-S", release, "--show-depends", name]
        shown = subprocess.run(command, capture_output=True, text=True, check=False, env=path)
        for line in shown.stdout.splitlines():
            if not line.startswith("insmod"):
                continue  # "builtin": the kernel has it already
            source = Path(line.split()[1])
            plain = source.name.removesuffix(".xz").removesuffix(".zst")
            if plain in order:
                continue
            order.append(plain)
            unpacker = {".xz": ["xz", "-dc"], ".zst": ["zstd", "-qdc"]}.get(source.suffix, ["cat"])
            with open(tree / "modules" / plain, "wb") as target:
                subprocess.run([*unpacker, str(source)], stdout=target, check=True)
    (tree / "modules" / "order").write_text("".join(f"{name}\n" for name in order))
    with open(archive, "wb") as target:
        names = subprocess.run(["find", ".", "-print0"], cwd=tree, capture_output=True, check=True).stdout
        subprocess.run(["cpio", "-0", "-o", "-H", "newc", "--quiet"], cwd=tree, input=names, stdout=target, check=True)


def run(arch: str, root: Path, share: Path, script: str) -> str:
    """Boot, run *script* as root with *share* at /mnt/share, and return what it printed; it is passed on as it comes."""
    machine, boot = MACHINES[arch], kernel(arch)
    with tempfile.TemporaryDirectory(dir=debian.HOME) as folder:
        control = Path(folder)
        (control / "script").write_text(script)
        (control / "clock").write_text(f"{int(time.time())}\n")
        (control / "output").touch()
        words = [
            *machine.qemu.split(),
            "-smp",
            "2",
            "-m",
            "2048",
            "-display",
            "none",
            "-monitor",
            "none",
            "-nic",
            "none",
        ]
        words += ["-no-reboot", "-serial", f"file:{control}/console"]
        for name, path, mode in (("root", root, "on"), ("share", share, "off"), ("control", control, "off")):
            shared = f"local,id={name},path={path},security_model=none,multidevs=remap,readonly={mode}"
            words += ["-fsdev", shared, "-device", f"{machine.device},fsdev={name},mount_tag={name}"]
        words += ["-kernel", str(boot / "vmlinuz"), "-initrd", str(boot / "initrd")]
        words += ["-append", f"console={machine.console} panic=-1 loglevel=4"]
        with open(control / "output", errors="replace") as output:
            guest = subprocess.Popen(["timeout", "-k", "5", f"{HOURS}h", *words], stdin=subprocess.DEVNULL)
            printed = []
            while True:
                ended = guest.poll() is not None  # asked first: what was printed before the end is then read
                while line := output.readline():
                    printed.append(line)
                    sys.stdout.write(line)
                sys.stdout.flush()
                if ended:
                    break
                time.sleep(0.2)
        if not (control / "status").exists():
            print((control / "console").read_text(errors="replace")[-4000:], file=sys.stderr)
            raise SystemExit(f"{arch}: the machine did not finish")
        return "".join(printed)
