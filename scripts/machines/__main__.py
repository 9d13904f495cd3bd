"""Build the wheel, and run the tests, on other architectures and kernels: Debian's, under QEMU. Needs root, on Debian.

    python scripts/machines packages                     what has to be installed
    python scripts/machines wheel ARCH [ARCH ...]        build the wheel under user emulation, and import it
    python scripts/machines quick ARCH [ARCH ...]        the tests that need no event, under user emulation
    python scripts/machines suite ARCH [PYTEST-ARG ...]  boot Debian's kernel, and run the tests there

ARCH is one of amd64, arm64, armhf, i386, ppc64el, riscv64, s390x. What is unpacked and built is kept below
$MACHINES_HOME (~/.cache/perf-event-open-sys-machines), about 1 GB for each architecture; remove it to begin anew.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import debian
import vm

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "qemu-user-static binfmt-support busybox-static cpio kmod xz-utils zstd "
    "qemu-system-arm qemu-system-misc qemu-system-ppc qemu-system-x86"
)
# Pure Python, so that one copy serves all architectures; Debian's pytest is older than the suite wants.
PURE = [
    "pytest",
    "hypothesis",
    "pycparser",
    "iniconfig",
    "packaging",
    "pluggy",
    "pygments",
    "sortedcontainers",
    "attrs",
]

# What runs in the guest. Each file of tests has a process of its own, so that a hang loses one file. With -icount the
# guest's clock jumps, and faulthandler's timer with it.
SUITE = """\
sysctl -q -w kernel.perf_event_paranoid=2 kernel.perf_cpu_time_max_percent=0 net.core.bpf_jit_enable=1
sysctl -q -w kernel.perf_user_access=1 2>/dev/null
export PYTHONPATH=/mnt/share/site:/mnt/share/pure
cd /mnt/share/source
for file in {files}; do
    echo "== $file"
    timeout {seconds} python3 -m pytest -q -p no:cacheprovider -o faulthandler_timeout=0 "$file" {arguments}
    [ $? = 124 ] && echo "$file: 1 timed out"
done
"""


def source(share: Path) -> Path:
    """Copy the files of the repository that git knows, as they are now, below *share*."""
    copy = share / "source"
    shutil.rmtree(copy, ignore_errors=True)
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    return copy


def pure(share: Path) -> None:
    """Install pytest and what it needs below *share*."""
    target = share / "pure"
    if not target.is_dir():
        only = ["--no-deps", "--only-binary=:all:", "--python-version", "3.13", "--abi", "none", "--platform", "any"]
        command = [sys.executable, "-m", "pip", "install", "-q", "--implementation", "py", *only, "--target"]
        subprocess.run([*command, str(target), *PURE], check=True)


def wheel(arch: str) -> Path:
    """Build the wheel in a root of *arch*, import it there, and unpack it for the tests; return the share directory."""
    root = debian.root(arch)
    share = debian.HOME / "share" / arch
    share.mkdir(parents=True, exist_ok=True)
    source(share)
    pure(share)
    # Not by pip, which does not start in a root whose certificates are not configured.
    debian.run(
        root, share, "rm -rf dist; cd source && LDFLAGS=-Wl,--strip-all python3 setup.py -q bdist_wheel -d ../dist"
    )
    built = next((share / "dist").glob("*.whl"))
    shutil.rmtree(share / "site", ignore_errors=True)
    shutil.unpack_archive(built, share / "site", "zip")
    print(f"{arch}: {built.name}, {built.stat().st_size / 1000:.0f} KB", flush=True)
    subprocess.run([sys.executable, "-m", "auditwheel", "show", str(built)], check=False)
    shown = "import platform, perf_event_open_sys as p; print(platform.machine(), p.lib.__name__, p.HEADERS_VERSION)"
    debian.run(root, share, f"PYTHONPATH=/mnt/share/site python3 -c '{shown}'")
    return share


def summary(output: str) -> Counter[str]:
    """Add up the last lines of several runs of pytest: ``{"passed": 1051, "failed": 2, ...}``."""
    counts: Counter[str] = Counter()
    for number, what in re.findall(r"\b(\d+) (passed|failed|skipped|error|errors|timed out)\b", output):
        counts[what.removesuffix("s")] += int(number)
    return counts


def finish(arch: str, output: str) -> int:
    """Print what the runs add up to; return the exit status."""
    counts = summary(output)
    print(f"{arch}: {', '.join(f'{number} {what}' for what, number in sorted(counts.items())) or 'nothing ran'}")
    return 0 if counts["passed"] and not counts["failed"] + counts["error"] + counts["timed out"] else 1


def quick(arch: str) -> int:
    """Run the tests that need no event, where QEMU's user emulation refuses perf_event_open."""
    share = wheel(arch)
    command = (
        "cd source && PYTHONPATH=/mnt/share/site:/mnt/share/pure "
        "python3 -m pytest -q -p no:cacheprovider -o faulthandler_timeout=0 -m 'not kernel' tests"
    )
    return finish(arch, debian.run(debian.root(arch), share, command, may_fail=True))


def suite(arch: str, arguments: list[str]) -> int:
    """Boot a kernel of *arch*, and run the tests there, but for those that need compilers or perf."""
    share = wheel(arch)
    given = [argument for argument in arguments if argument.startswith("tests/")]
    files = given or [
        str(path.relative_to(share / "source"))
        for folder in ("tests", "tests/kernel")
        for path in sorted((share / "source" / folder).glob("test_*.py"))
    ]
    others = " ".join(f"'{argument}'" for argument in arguments if argument not in given)
    script = SUITE.format(files=" ".join(files), seconds=1800, arguments=others)
    return finish(arch, vm.run(arch, debian.root(arch), share, script))


def main(words: list[str]) -> int:
    """Run the command line; return the exit status."""
    match words:
        case ["packages"]:
            print(f"apt install {PACKAGES}")
        case ["wheel", *archs] if archs:
            for arch in archs:
                wheel(arch)
        case ["quick", *archs] if archs:
            return max(quick(arch) for arch in archs)
        case ["suite", arch, *arguments]:
            return suite(arch, arguments)
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
