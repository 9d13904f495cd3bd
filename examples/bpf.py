"""Count all context switches of the machine in a BPF program on their tracepoint. Needs root, and tracefs."""

import ctypes
import os
import platform
import struct
import time

from perf_event_open_sys import events, ioctls, perf_event_open

SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280}[platform.machine()]
MAP_CREATE, MAP_LOOKUP_ELEM, PROG_LOAD = 0, 1, 5
MAP_TYPE_ARRAY, PROG_TYPE_TRACEPOINT = 2, 5

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, layout: str, *values: int) -> int:
    """Make the system call with the first fields of its ``union bpf_attr``."""
    attr = ctypes.create_string_buffer(struct.pack(layout, *values), 128)
    result = libc.syscall(SYS_BPF, command, attr, len(attr))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def instruction(code: int, registers: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    """Encode one instruction; *registers* is source << 4 | destination."""
    return struct.pack("BBhi", code, registers, offset, immediate)


counter = bpf(MAP_CREATE, "IIII", MAP_TYPE_ARRAY, 4, 8, 1)
program = b"".join(
    (
        instruction(0x62, 10, -4, 0),  # *(u32 *)(r10 - 4) = 0, the key
        instruction(0xBF, 10 << 4 | 2),  # r2 = r10
        instruction(0x07, 2, 0, -4),  # r2 += -4
        instruction(0x18, 1 << 4 | 1, 0, counter),  # r1 = the map
        instruction(0),
        instruction(0x85, 0, 0, 1),  # r0 = bpf_map_lookup_elem(r1, r2)
        instruction(0x15, 0, 2, 0),  # if r0 == 0 goto +2
        instruction(0xB7, 1, 0, 1),  # r1 = 1
        instruction(0xDB, 1 << 4 | 0, 0, 0),  # lock *(u64 *)(r0 + 0) += r1
        instruction(0xB7, 0, 0, 1),  # r0 = 1: with 0, no other perf event would see the tracepoint any more
        instruction(0x95),  # return r0
    )
)
code, license_ = ctypes.create_string_buffer(program), ctypes.create_string_buffer(b"GPL")
prog_fd = bpf(
    *(PROG_LOAD, "IIQQ", PROG_TYPE_TRACEPOINT, len(program) // 8, ctypes.addressof(code), ctypes.addressof(license_))
)

fd = perf_event_open(events.attr("sched:sched_switch"), pid=-1, cpu=0)
ioctls.set_bpf(fd, prog_fd)
attached = ioctls.query_bpf(fd)
for _ in range(10):
    time.sleep(0.001)

key, value = ctypes.c_uint32(), ctypes.c_uint64()
bpf(MAP_LOOKUP_ELEM, "IxxxxQQ", counter, ctypes.addressof(key), ctypes.addressof(value))
for descriptor in (fd, prog_fd, counter):
    os.close(descriptor)
print(f"{value.value} context switches, counted by {len(attached)} program")
