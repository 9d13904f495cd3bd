"""The names of hardware, software and cache events, the same on every machine, and their attr.type and attr.config."""

from __future__ import annotations

from .._native import lib

HARDWARE: dict[int, tuple[str, ...]] = {
    lib.PERF_COUNT_HW_CPU_CYCLES: ("cycles", "cpu-cycles"),
    lib.PERF_COUNT_HW_INSTRUCTIONS: ("instructions",),
    lib.PERF_COUNT_HW_CACHE_REFERENCES: ("cache-references",),
    lib.PERF_COUNT_HW_CACHE_MISSES: ("cache-misses",),
    lib.PERF_COUNT_HW_BRANCH_INSTRUCTIONS: ("branches", "branch-instructions"),
    lib.PERF_COUNT_HW_BRANCH_MISSES: ("branch-misses",),
    lib.PERF_COUNT_HW_BUS_CYCLES: ("bus-cycles",),
    lib.PERF_COUNT_HW_STALLED_CYCLES_FRONTEND: ("stalled-cycles-frontend", "idle-cycles-frontend"),
    lib.PERF_COUNT_HW_STALLED_CYCLES_BACKEND: ("stalled-cycles-backend", "idle-cycles-backend"),
    lib.PERF_COUNT_HW_REF_CPU_CYCLES: ("ref-cycles",),
}
SOFTWARE: dict[int, tuple[str, ...]] = {
    lib.PERF_COUNT_SW_CPU_CLOCK: ("cpu-clock",),
    lib.PERF_COUNT_SW_TASK_CLOCK: ("task-clock",),
    lib.PERF_COUNT_SW_PAGE_FAULTS: ("page-faults", "faults"),
    lib.PERF_COUNT_SW_CONTEXT_SWITCHES: ("context-switches", "cs"),
    lib.PERF_COUNT_SW_CPU_MIGRATIONS: ("cpu-migrations", "migrations"),
    lib.PERF_COUNT_SW_PAGE_FAULTS_MIN: ("minor-faults",),
    lib.PERF_COUNT_SW_PAGE_FAULTS_MAJ: ("major-faults",),
    lib.PERF_COUNT_SW_ALIGNMENT_FAULTS: ("alignment-faults",),
    lib.PERF_COUNT_SW_EMULATION_FAULTS: ("emulation-faults",),
    lib.PERF_COUNT_SW_DUMMY: ("dummy",),
    lib.PERF_COUNT_SW_BPF_OUTPUT: ("bpf-output",),
    lib.PERF_COUNT_SW_CGROUP_SWITCHES: ("cgroup-switches",),
}
NAMES = {
    name: (kind, config)
    for kind, table in ((lib.PERF_TYPE_HARDWARE, HARDWARE), (lib.PERF_TYPE_SOFTWARE, SOFTWARE))
    for config, names in table.items()
    for name in names
}

# A cache event's config is cache | operation << 8 | result << 16, each the position of its row here.
CACHES = (
    ("L1-dcache", "l1-d", "l1d", "L1-data"),
    ("L1-icache", "l1-i", "l1i", "L1-instruction"),
    ("LLC", "L2"),
    ("dTLB", "d-tlb", "Data-TLB"),
    ("iTLB", "i-tlb", "Instruction-TLB"),
    ("branch", "branches", "bpu", "btb", "bpc"),
    ("node",),
)
OPERATIONS = (
    ("loads", "load", "read"),
    ("stores", "store", "write"),
    ("prefetches", "prefetch", "speculative-read", "speculative-load"),
)
RESULTS = (("refs", "Reference", "ops", "access"), ("misses", "miss"))


def _access_configs() -> dict[str, int]:
    """Return the config bits of what may follow a cache's name: ``-load``, ``-misses``, ``-load-misses``, …, or nothing."""
    operations = {f"-{name}": row << 8 for row, names in enumerate(OPERATIONS) for name in names}
    results = {f"-{name}": row << 16 for row, names in enumerate(RESULTS) for name in names}
    configs = {"": 0, **operations, **results}
    for operation, result in ((o, r) for o in operations for r in results):
        configs[operation + result] = configs[result + operation] = operations[operation] | results[result]
    return configs


_ACCESS_CONFIGS = _access_configs()


def generic(name: str) -> tuple[int, int] | None:
    """Return type and config of a hardware, software or cache event; None for a name that is none of them."""
    if name in NAMES:
        return NAMES[name]
    for row, aliases in enumerate(CACHES):
        for alias in aliases:
            access = _ACCESS_CONFIGS.get(name[len(alias) :]) if name.startswith(alias) else None
            if access is not None:
                return lib.PERF_TYPE_HW_CACHE, row | access
    return None


def cache_events() -> list[str]:
    """Return the names of the cache events that perf lists.

    Left out are stores to and prefetches into caches that have none, as stores to the instruction cache.
    """
    absent = {(1, 1), (4, 1), (4, 2), (5, 1), (5, 2)}
    both = [(c, o) for c in range(len(CACHES)) for o in range(len(OPERATIONS)) if (c, o) not in absent]
    return [f"{CACHES[c][0]}-{OPERATIONS[o][miss]}{'-misses' * miss}" for c, o in both for miss in (0, 1)]
