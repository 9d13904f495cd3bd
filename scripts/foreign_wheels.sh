#!/usr/bin/env bash
# Build the wheel for other architectures, and try it there: in Debian's userland, emulated by qemu-user, which has no
# perf_event_open: what needs events is skipped, as in a container.
#
# scripts/foreign_wheels.sh [ARCHITECTURE...]     Debian's names; the wheels go to wheelhouse/
# TESTS='test_layout.py test_records*.py' scripts/foreign_wheels.sh s390x     a part of the tests: all of them take an hour
#
# As root, with mmdebstrap, qemu-user-static and binfmt-support installed, and after `make build`.
set -euo pipefail
cd "$(dirname "$0")/.."
SUITE=${SUITE:-trixie}
ROOTS=${ROOTS:-${XDG_CACHE_HOME:-$HOME/.cache}/perf_event_open_sys/$SUITE}
MIRROR=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
TOOLS="pytest>=9 hypothesis pycparser setuptools>=77 wheel"

# The packages unpacked, not configured: that takes half a minute, and no emulation.
make_root() { # ARCHITECTURE ROOT
    mkdir -p "$2"
    mmdebstrap --quiet --variant=extract --architectures="$1" --skip=check/qemu \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        --include=base-files,bash,coreutils,gcc,grep,libc6-dev,mount,procps,python3-cffi,python3-dev "$SUITE" "$2" \
        "deb $MIRROR $SUITE main"
    ln -sf bash "$2/usr/bin/sh"
    ln -sf gcc "$2/usr/bin/cc"
    printf '%s\n' root:x:0:0::/root:/bin/sh nobody:x:65534:65534::/:/bin/sh >"$2/etc/passwd"
    printf '%s\n' root:x:0: nogroup:x:65534: >"$2/etc/group"
    local python
    python=$(basename "$(readlink "$2/usr/bin/python3")")
    # Debian's are too old. What is pure Python is for any machine.
    # shellcheck disable=SC2086
    .venv/bin/pip install -q --no-cache-dir --target "$2/tools" --only-binary :all: --platform any \
        --python-version "${python#python}" --implementation py --abi none $TOOLS
}

inside() { # ROOT COMMAND
    # shellcheck disable=SC2016
    unshare --mount sh -c 'mount --make-rprivate / && mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" &&
        mount -t sysfs sysfs "$0/sys" && mount -t tmpfs tmpfs "$0/tmp" &&
        exec chroot "$0" env -i PATH=/usr/bin:/bin HOME=/tmp LANG=C.UTF-8 TESTS="${TESTS:-.}" PYTHONDONTWRITEBYTECODE=1 sh -ec "$1"' "$1" "$2"
}

[ -e /proc/sys/fs/binfmt_misc/status ] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
update-binfmts --enable 2>/dev/null # warns of each format that is enabled already

status=0
for architecture in "${@:-arm64}"; do
    root=$ROOTS/$architecture
    printf '\n== %s\n' "$architecture"
    [ -e "$root/tools/pytest" ] || { rm -rf "$root" && make_root "$architecture" "$root"; }
    rm -rf "$root"/{src,dist,site}
    mkdir -p "$root/src" wheelhouse
    git archive HEAD | tar -x -C "$root/src"
    inside "$root" 'cd /src; export PYTHONPATH=/tools LDFLAGS=-Wl,--strip-all; python3 setup.py -q bdist_wheel --dist-dir /dist'
    cp "$root"/dist/*.whl wheelhouse
    .venv/bin/auditwheel show "$root"/dist/*.whl
    inside "$root" 'python3 -m zipfile -e /dist/*.whl /site; export PYTHONPATH=/site; cd /
        python3 -c "import platform, perf_event_open_sys; print(perf_event_open_sys, *platform.uname()[4:5], *platform.libc_ver())"
        python3 -m perf_event_open_sys --version
        cd /src/tests; PYTHONPATH=/site:/tools python3 -m pytest -q -p no:cacheprovider -o faulthandler_timeout=0 -m "not kernel" $TESTS' || status=1
done
exit $status
