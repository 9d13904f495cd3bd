"""BPF programs as bytes, and the few commands of bpf(2) that the tests need."""

import contextlib
import ctypes
import errno
import os
import struct
import sys

import pytest

from .machine import MACHINE

MAP_CREATE, MAP_LOOKUP_ELEM, PROG_LOAD, OBJ_GET_INFO_BY_FD = 0, 1, 5, 15
MAP_TYPE_ARRAY, PROG_TYPE_SOCKET_FILTER, PROG_TYPE_TRACEPOINT = 2, 1, 5
SYSCALLS = {
    "x86_64": 321,
    "i686": 357,
    "aarch64": 280,
    "riscv64": 280,
    "loongarch64": 280,
    "ppc64le": 361,
    "ppc64": 361,
    "armv7l": 386,
    "s390x": 351,
}


def bpf(command, attr):
    """Make the system call; *attr* is a packed ``union bpf_attr``."""
    number = SYSCALLS.get(MACHINE)
    if number is None:
        pytest.skip(f"no number of bpf(2) for {MACHINE} is known to the tests")
    buffer = ctypes.create_string_buffer(attr, len(attr))
    result = ctypes.CDLL(None, use_errno=True).syscall(number, command, buffer, len(attr))
    if result < 0:
        code = ctypes.get_errno()
        if code in (errno.EPERM, errno.ENOSYS):
            pytest.skip(f"bpf(2) is refused here: {os.strerror(code)}")
        raise OSError(code, f"bpf({command}): {os.strerror(code)}")
    return result


def instruction(opcode, dst=0, src=0, offset=0, immediate=0):
    """Return one ``struct bpf_insn``, whose registers are bitfields."""
    registers = src << 4 | dst if sys.byteorder == "little" else dst << 4 | src
    return struct.pack("=BBhi", opcode, registers, offset, immediate)


def load(kind, instructions, name=b""):
    """Load a program, a sequence of instructions, and return its file descriptor."""
    code = b"".join(instructions)
    instructions, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    where = ctypes.addressof(instructions), ctypes.addressof(licence)
    return bpf(PROG_LOAD, struct.pack("=IIQQIIQII16s", kind, len(code) // 8, *where, 0, 0, 0, 0, 0, name))


def returning(value):
    """Return the instructions of a program that does nothing but return *value*."""
    return [instruction(0xB7, immediate=value), instruction(0x95)]


@contextlib.contextmanager
def counting_program(verdict=1):
    """A tracepoint program that counts its runs in a map: yields its fd and a function that reads the count.

    *verdict* is what it returns: with 0 the kernel hides the hit from the events of the tracepoint.
    """
    counter = bpf(MAP_CREATE, struct.pack("=IIII", MAP_TYPE_ARRAY, 4, 8, 1))
    code = [
        instruction(0x62, dst=10, offset=-4),  # *(u32 *)(r10 - 4) = 0
        instruction(0xBF, dst=2, src=10),  # r2 = r10
        instruction(0x07, dst=2, immediate=-4),  # r2 += -4
        instruction(0x18, dst=1, src=1, immediate=counter),  # r1 = the map
        instruction(0x00),
        instruction(0x85, immediate=1),  # r0 = bpf_map_lookup_elem(r1, r2)
        instruction(0x15, dst=0, offset=2),  # if r0 == 0 goto +2
        instruction(0xB7, dst=1, immediate=1),  # r1 = 1
        instruction(0xDB, dst=0, src=1),  # lock *(u64 *)r0 += r1
        *returning(verdict),
    ]
    try:
        program = load(PROG_TYPE_TRACEPOINT, code)
    except BaseException:  # a skip too
        os.close(counter)
        raise

    def runs():
        key, value = ctypes.c_uint32(0), ctypes.c_uint64(0)
        lookup = struct.pack("=IIQQ", counter, 0, ctypes.addressof(key), ctypes.addressof(value))
        bpf(MAP_LOOKUP_ELEM, lookup)
        return value.value

    try:
        yield program, runs
    finally:
        os.close(program)
        os.close(counter)


def program_id(fd):
    """The id that the kernel gave to a program, the one that PERF_EVENT_IOC_QUERY_BPF lists."""
    info = (ctypes.c_uint32 * 2)()  # struct bpf_prog_info begins with type and id
    bpf(OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, ctypes.sizeof(info), ctypes.addressof(info)))
    return info[1]
