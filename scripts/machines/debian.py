"""Roots of other architectures: Debian's packages, downloaded by apt with a state of its own, and unpacked.

Nothing is configured, since that would run hundreds of scripts under emulation; the little that these would have done
for Python and gcc is done here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HOME = Path(os.environ.get("MACHINES_HOME") or Path.home() / ".cache" / "perf-event-open-sys-machines")
SUITE = os.environ.get("MACHINES_SUITE", "trixie")
ROOT_PACKAGES = (
    "base-files base-passwd bash coreutils dash util-linux mount grep sed gawk findutils hostname procps libc-bin kmod "
    "python3 python3-dev python3-cffi python3-setuptools python3-pycparser python3-numpy gcc libc6-dev make git"
)
BINFMT = Path("/proc/sys/fs/binfmt_misc")


def apt(arch: str, *arguments: str) -> str:
    """Run apt-get, or apt-cache, for another architecture; return what it prints."""
    state = HOME / "apt" / f"{SUITE}-{arch}"
    lists, archives = state / "lists", state / "cache" / "archives"
    for folder in (lists / "partial", archives / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    (state / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {SUITE} main\n")
    options = {
        "APT::Architecture": arch,
        "APT::Architectures::": arch,
        "APT::Sandbox::User": "root",
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::Lists": lists,
        "Dir::Cache": state / "cache",
        "Dir::State::status": state / "status",
    }
    words = [f"-o{name}={value}" for name, value in options.items()]
    if not any(lists.glob("*_Packages*")) and arguments[0] != "update":
        apt(arch, "update")
    tool = "apt-cache" if arguments[0] == "depends" else "apt-get"
    done = subprocess.run([tool, "-qq", *words, *arguments], cwd=archives, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{tool} {' '.join(arguments)} for {arch} failed:\n{done.stderr}")
    return done.stdout


KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def _mirror() -> str:
    """Return the address from which this machine has its own packages."""
    for path in [*Path("/etc/apt/sources.list.d").glob("*.sources"), Path("/etc/apt/sources.list")]:
        for line in path.read_text().splitlines() if path.exists() else ():
            words = line.split()
            if words[:1] == ["URIs:"]:
                return words[1]
            if words[:1] == ["deb"]:
                return next(word for word in words if "://" in word)
    raise SystemExit("apt's sources name no address")


def download(arch: str, *packages: str) -> list[Path]:
    """Download packages, and what they depend on; return the files."""
    archives = HOME / "apt" / f"{SUITE}-{arch}" / "cache" / "archives"
    for old in archives.glob("*.deb"):
        old.unlink()
    apt(arch, "install", "-y", "--no-install-recommends", "--download-only", *packages)
    return sorted(archives.glob("*.deb"))


def unpack(package: Path, root: Path) -> None:
    """Unpack a package; directories that are links in *root*, as /bin is, stay links."""
    files = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-C", str(root), "-x", "--keep-directory-symlink"], stdin=files.stdout, check=True)
    if files.wait():
        raise SystemExit(f"{package} is no package")
    package.unlink()


def root(arch: str) -> Path:
    """Return the directory of a root with Python, NumPy, cffi and gcc; it is made if it is not there."""
    made = HOME / "roots" / f"{SUITE}-{arch}"
    if (made / "complete").exists():
        return made
    print(f"{arch}: unpacking Debian {SUITE}", flush=True)
    shutil.rmtree(made, ignore_errors=True)
    for name in ("bin", "sbin", "lib", "lib64", "lib32"):
        (made / "usr" / name).mkdir(parents=True)
        (made / name).symlink_to(f"usr/{name}")
    for package in download(arch, *ROOT_PACKAGES.split()):
        unpack(package, made)
    for name in ("proc", "sys", "dev", "tmp", "run", "root", "etc", "mnt/share", "mnt/control"):
        (made / name).mkdir(parents=True, exist_ok=True)
    (made / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/sh\n")
    (made / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    links = {"usr/bin/sh": "dash", "usr/bin/cc": "gcc", "usr/bin/awk": "gawk"}
    libraries = next(made.glob("usr/lib/*/blas")).parent  # NumPy's, of which alternatives would choose
    for name in ("blas", "lapack"):
        links[str((libraries / f"lib{name}.so.3").relative_to(made))] = f"{name}/lib{name}.so.3"
    for link, target in links.items():
        if not (made / link).is_symlink() and not (made / link).exists():
            (made / link).symlink_to(target)
    for name in ("doc", "man", "locale", "info", "lintian"):
        shutil.rmtree(made / "usr/share" / name, ignore_errors=True)
    (made / "complete").touch()
    return made


_ENTER = """\
mount --make-rprivate /
mount --bind "$2" "$1/mnt/share"
mount -t proc proc "$1/proc"
mount -t sysfs sysfs "$1/sys"
mount -t tmpfs tmpfs "$1/tmp"
mount --rbind /dev "$1/dev"
exec chroot "$1" /usr/bin/env -i PATH=/usr/bin:/usr/sbin HOME=/tmp LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 \\
    /bin/sh -c "cd /mnt/share && $3"
"""


def run(directory: Path, share: Path, command: str, *, may_fail: bool = False) -> str:
    """Run a shell command in a root, by QEMU's user emulation, with *share* at /mnt/share; return what it prints."""
    if not any(BINFMT.glob("qemu-*")):
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=False)
        for name in Path("/usr/share/binfmts").glob("qemu-*"):
            subprocess.run(["update-binfmts", "--enable", name.name], check=False)
    words = ["unshare", "-m", "sh", "-ec", _ENTER, "sh", str(directory), str(share), command]
    return lines_of(words, may_fail=may_fail)


def lines_of(words: list[str], *, may_fail: bool) -> str:
    """Run a command, pass on what it prints, and return it."""
    printed = []
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout
        for line in process.stdout:
            printed.append(line)
            sys.stdout.write(line)
            sys.stdout.flush()
    if process.returncode and not may_fail:
        raise SystemExit(f"exit status {process.returncode}")
    return "".join(printed)
