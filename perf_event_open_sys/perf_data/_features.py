"""Decode what perf tells in a perf.data file of the machine, of the recording and of its events: the features.

Source: perf's ``tools/perf/util/header.c`` (7.2).
"""

from __future__ import annotations

from .._namedtuple import NamedTuple
from ._attrs import Cursor, damaged, read_attr, text
from ._event import Event
from ._layout import FEATURES, PERF_RECORD_MISC_BUILD_ID_SIZE, RECORD_HEADER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    _T = TypeVar("_T")

_BUILD_ID_SIZE = 20  # the bytes that are kept of a build id


class NrCpus(NamedTuple):
    """How many CPUs the machine can have, and how many were online."""

    available: int
    online: int


class BuildId(NamedTuple):
    """The build id of a file that was mapped."""

    pid: int  # -1: of the machine itself, as for the kernel
    build_id: bytes
    filename: str


class Cpu(NamedTuple):
    """Where a CPU is. *die_id* is None if the file does not tell."""

    core_id: int
    socket_id: int
    die_id: int | None


class CpuTopology(NamedTuple):
    """Which CPUs share a package, a core, a die: lists as the kernel writes them (``0-3,8``). And a Cpu for each CPU."""

    packages: tuple[str, ...]
    cores: tuple[str, ...]
    dies: tuple[str, ...]
    cpus: tuple[Cpu, ...]


class NumaNode(NamedTuple):
    """A node of memory, its size in KiB, and the list of its CPUs."""

    node: int
    mem_total: int
    mem_free: int
    cpus: str


class GroupDesc(NamedTuple):
    """A group of events: the index of its leader in ``Reader.events``, which its other members follow."""

    name: str
    leader: int
    nr_members: int


class CacheLevel(NamedTuple):
    """A cache of the CPUs in the list *cpus*."""

    level: int
    line_size: int
    sets: int
    ways: int
    type: str
    size: str
    cpus: str


class MemTopology(NamedTuple):
    """The physical memory: blocks of *block_size* bytes. If bit n of *nodes[node]* is set, block n is of that node."""

    version: int
    block_size: int
    nodes: dict[int, int]


class ClockData(NamedTuple):
    """The same moment by the clock of the day and by the clock of the records, in ns."""

    version: int
    clockid: int
    wall_clock_ns: int
    clockid_ns: int


class BpfProgInfo(NamedTuple):
    """A BPF program: the kernel's ``struct bpf_prog_info``, and the arrays that it refers to by offsets into *data*.

    Bit n of *arrays* is set if there is an array of kind n (perf's ``enum perf_bpil_array_types``).
    """

    info: bytes
    arrays: int
    data: bytes


class Compressed(NamedTuple):
    """How the records are compressed: *type* 1 is zstd. Each COMPRESSED record has at most *mmap_len* bytes in it."""

    version: int
    type: int
    level: int
    ratio: int
    mmap_len: int


class Domain(NamedTuple):
    """A scheduling domain of a CPU; *name* is "" before version 17 of /proc/schedstat."""

    level: int
    name: str
    cpumask: str
    cpus: str


class CpuDomainInfo(NamedTuple):
    """The scheduling domains of each CPU, by /proc/schedstat of *version*."""

    version: int
    max_domains: int
    cpus: dict[int, tuple[Domain, ...]]


class EMachine(NamedTuple):
    """The machine and the flags, as in an ELF file's header."""

    machine: int
    flags: int


def _times(count: int, read: Callable[[], _T]) -> tuple[_T, ...]:
    """Call *read* *count* times. Each call reads a byte at least, so that a wrong count soon finds no bytes left."""
    return tuple(read() for _ in range(count))


def _strings(cursor: Cursor) -> tuple[str, ...]:
    return _times(cursor.u32(), cursor.string)


def _named_strings(cursor: Cursor) -> dict[str, str]:
    return dict(_times(cursor.u32(), lambda: (cursor.string(), cursor.string())))


def _flag(_: Cursor) -> bool:
    return True  # that the feature is there is all that it says


def build_id(cursor: Cursor) -> BuildId:
    """Read a PERF_RECORD_HEADER_BUILD_ID. The type in its header is not checked: in the feature it is 0."""
    begin = cursor.offset
    _, misc, size = RECORD_HEADER.unpack(cursor.bytes(RECORD_HEADER.size))
    if size < RECORD_HEADER.size + 28:
        damaged(begin, f"a build id's record of {size} bytes: it has 36 at least")
    pid, identity, name = cursor.u32(), cursor.bytes(24), cursor.bytes(size - RECORD_HEADER.size - 28)
    length = identity[_BUILD_ID_SIZE] if misc & PERF_RECORD_MISC_BUILD_ID_SIZE else _BUILD_ID_SIZE
    if length > _BUILD_ID_SIZE:
        damaged(begin, f"a build id of {length} bytes: it has {_BUILD_ID_SIZE} at most")
    return BuildId(pid - (1 << 32) if pid >> 31 else pid, bytes(identity[:length]), text(name))


def _build_ids(cursor: Cursor) -> list[BuildId]:
    found = []
    while cursor.left:
        found.append(build_id(cursor))
    return found


def _event_desc(cursor: Cursor) -> list[Event]:
    count, attr_size = cursor.u32(), cursor.u32()

    def event() -> Event:
        whole = Cursor(cursor.bytes(attr_size), cursor.offset - attr_size, "event_desc")
        attr = read_attr(whole, attr_size)
        n_ids, name = cursor.u32(), cursor.string()
        return Event(attr, cursor.u64s(n_ids), name)

    return list(_times(count, event))


def _cpu_topology(cursor: Cursor, nr_cpus: int) -> CpuTopology:
    packages, cores = _strings(cursor), _strings(cursor)
    if not cursor.left or not nr_cpus:  # perf of 2012 wrote no more
        return CpuTopology(packages, cores, (), ())
    pairs = _times(nr_cpus, lambda: (cursor.u32(), cursor.u32()))
    dies = _strings(cursor) if cursor.left else ()
    die_ids = _times(nr_cpus, cursor.u32) if cursor.left else (None,) * nr_cpus
    cpus = tuple(Cpu(*pair, die) for pair, die in zip(pairs, die_ids, strict=True))
    return CpuTopology(packages, cores, dies, cpus)


def _mem_topology(cursor: Cursor) -> MemTopology:
    version, block_size = cursor.u64(), cursor.u64()

    def node() -> tuple[int, int]:
        number, _ = cursor.u64(), cursor.u64()
        words = cursor.u64s((cursor.u64() + 63) // 64)
        return number, int.from_bytes(b"".join(word.to_bytes(8, "little") for word in words), "little")

    return MemTopology(version, block_size, dict(_times(cursor.u64(), node)))


def _auxtrace(cursor: Cursor) -> list[tuple[int, int]]:
    return list(_times(cursor.u64(), lambda: (cursor.u64(), cursor.u64())))


def _cache(cursor: Cursor) -> list[CacheLevel]:
    cursor.u32()  # the version, 1

    def level() -> CacheLevel:
        numbers = cursor.u32(), cursor.u32(), cursor.u32(), cursor.u32()
        return CacheLevel(*numbers, cursor.string(), cursor.string(), cursor.string())

    return list(_times(cursor.u32(), level))


def _bpf_prog_info(cursor: Cursor) -> list[BpfProgInfo]:
    def program() -> BpfProgInfo:
        info_size, data_size, arrays = cursor.u32(), cursor.u32(), cursor.u64()
        return BpfProgInfo(bytes(cursor.bytes(info_size)), arrays, bytes(cursor.bytes(data_size)))

    return list(_times(cursor.u32(), program))


def _bpf_btf(cursor: Cursor) -> dict[int, bytes]:
    def btf() -> tuple[int, bytes]:
        identity = cursor.u32()
        return identity, bytes(cursor.bytes(cursor.u32()))

    return dict(_times(cursor.u32(), btf))


def _pmu_caps(cursor: Cursor) -> dict[str, dict[str, str]]:
    def pmu() -> tuple[str, dict[str, str]]:
        capabilities = _named_strings(cursor)
        return cursor.string(), capabilities

    return dict(_times(cursor.u32(), pmu))


def _cpu_domain_info(cursor: Cursor) -> CpuDomainInfo:
    version, max_domains = cursor.u32(), cursor.u32()

    def domain() -> Domain:
        return Domain(cursor.u32(), cursor.string() if version >= 17 else "", cursor.string(), cursor.string())

    cpus = {}
    while cursor.left:  # there is one for each CPU that is online, and no count of them
        cpu = cursor.u32()
        cpus[cpu] = _times(cursor.u32(), domain)
    return CpuDomainInfo(version, max_domains, cpus)


_DECODERS: dict[str, Callable[[Cursor], Any]] = {
    "tracing_data": lambda cursor: bytes(cursor.bytes(cursor.left)),
    "build_id": _build_ids,
    **dict.fromkeys(("hostname", "osrelease", "version", "arch", "cpudesc", "cpuid"), Cursor.string),
    "nrcpus": lambda cursor: NrCpus(cursor.u32(), cursor.u32()),
    "total_mem": Cursor.u64,
    "cmdline": _strings,
    "event_desc": _event_desc,
    "numa_topology": lambda cursor: list(
        _times(cursor.u32(), lambda: NumaNode(cursor.u32(), cursor.u64(), cursor.u64(), cursor.string()))
    ),
    "branch_stack": _flag,
    "pmu_mappings": lambda cursor: {
        name: number for number, name in _times(cursor.u32(), lambda: (cursor.u32(), cursor.string()))
    },
    "group_desc": lambda cursor: list(
        _times(cursor.u32(), lambda: GroupDesc(cursor.string(), cursor.u32(), cursor.u32()))
    ),
    "auxtrace": _auxtrace,
    "stat": _flag,
    "cache": _cache,
    "sample_time": lambda cursor: (cursor.u64(), cursor.u64()),
    "mem_topology": _mem_topology,
    "clockid": Cursor.u64,
    "dir_format": Cursor.u64,
    "bpf_prog_info": _bpf_prog_info,
    "bpf_btf": _bpf_btf,
    "compressed": lambda cursor: Compressed(*_times(5, cursor.u32)),
    "cpu_pmu_caps": _named_strings,
    "clock_data": lambda cursor: ClockData(cursor.u32(), cursor.u32(), cursor.u64(), cursor.u64()),
    "hybrid_topology": _named_strings,
    "pmu_caps": _pmu_caps,
    "cpu_domain_info": _cpu_domain_info,
    "e_machine": lambda cursor: EMachine(cursor.u32(), cursor.u32()),
    "cln_size": lambda cursor: cursor.u32() if cursor.left < 8 else cursor.u64(),
}


def decode(number: int, data: memoryview, offset: int, features: dict[str | int, Any]) -> tuple[str | int, Any]:
    """Return the name and the value of a feature; of one that is not known its number, and its bytes.

    Args:
        number: the feature's.
        data: its bytes.
        offset: where these are in the file, in bytes.
        features: those of lower numbers.

    Raises:
        ValueError: the feature is cut short, or has a value that it cannot have.
    """
    name = FEATURES.get(number)
    if name is None:
        return number, bytes(data)
    cursor = Cursor(data, offset, f"the feature {name}")
    if name == "cpu_topology":
        return name, _cpu_topology(cursor, features["nrcpus"].available if "nrcpus" in features else 0)
    return name, _DECODERS[name](cursor)
