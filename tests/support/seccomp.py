"""A seccomp filter that answers perf_event_open(2) with an errno, as a container's does.

``PYTHONPATH=tests python -m support.seccomp EPERM`` runs pytest under one, with the arguments that follow.
"""

import ctypes
import errno
import os
import struct
import sys

from .machine import MACHINE

# __NR_perf_event_open
NUMBERS = {
    "x86_64": 298,
    "i686": 336,
    "aarch64": 241,
    "armv7l": 364,
    "riscv64": 241,
    "loongarch64": 241,
    "ppc64le": 319,
    "ppc64": 319,
    "s390x": 331,
}
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
BPF_LD_W_ABS, BPF_JEQ_K, BPF_RET_K = 0x20, 0x15, 0x06
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x50000, 0x7FFF0000


def deny(code):
    """Make perf_event_open fail with errno *code* in this process and its children: for ``preexec_fn``."""
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = (
        (BPF_LD_W_ABS, 0, 0, 0),
        (BPF_JEQ_K, 0, 1, NUMBERS[MACHINE]),
        (BPF_RET_K, 0, 0, SECCOMP_RET_ERRNO | code),
        (BPF_RET_K, 0, 0, SECCOMP_RET_ALLOW),
    )
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in instructions))
    filters = struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(program))
    for call in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filters, 0, 0)):
        if libc.prctl(*call):
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    deny(getattr(errno, sys.argv[1]))
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *sys.argv[2:]])
