"""The layout of perf.data files: what the reader and the writer both have to know.

A file begins with ``HEADER``. Its sections are the table of attrs, whose entries are an attr of ``attr_size - 16`` bytes
and the ``SECTION`` of its ids; the records; and, right behind the records, a ``SECTION`` for each feature whose bit is
set in the header, in the order of the bits. A stream (a pipe) begins with ``PIPE_HEADER``, and has records only: attrs
and features are records too.

Source: perf's ``tools/perf/util/header.h`` and ``tools/lib/perf/include/perf/event.h`` (7.2).
"""

from __future__ import annotations

from struct import Struct

# perf writes the magic number as a 64-bit integer: on a big-endian machine its bytes stand in the file in reverse.
MAGIC = Struct("=Q").pack(0x32454C4946524550)
OTHER_BYTE_ORDER = MAGIC[::-1]
VERSION_1 = b"PERFFILE"

# magic, size of this header, stride of the table of attrs; offset and size of attrs, of data, of event types (no longer
# used); the bits of the features, of which there can be 256.
HEADER = Struct("=8s8Q32s")
PIPE_HEADER = Struct("=8sQ")  # magic, size of this header
SECTION = Struct("=2Q")  # offset, size
RECORD_HEADER = Struct("=IHH")  # type, misc, size: struct perf_event_header
STRING_ALIGN = 64  # perf pads the strings of features with zeros to a multiple of this; the length counts the zeros

# Record types that perf adds to those of the kernel.
PERF_RECORD_USER_TYPE_START = 64
PERF_RECORD_HEADER_ATTR = 64
PERF_RECORD_HEADER_EVENT_TYPE = 65
PERF_RECORD_HEADER_TRACING_DATA = 66
PERF_RECORD_HEADER_BUILD_ID = 67
PERF_RECORD_FINISHED_ROUND = 68
PERF_RECORD_ID_INDEX = 69
PERF_RECORD_AUXTRACE_INFO = 70
PERF_RECORD_AUXTRACE = 71
PERF_RECORD_AUXTRACE_ERROR = 72
PERF_RECORD_THREAD_MAP = 73
PERF_RECORD_CPU_MAP = 74
PERF_RECORD_STAT_CONFIG = 75
PERF_RECORD_STAT = 76
PERF_RECORD_STAT_ROUND = 77
PERF_RECORD_EVENT_UPDATE = 78
PERF_RECORD_TIME_CONV = 79
PERF_RECORD_HEADER_FEATURE = 80
PERF_RECORD_COMPRESSED = 81
PERF_RECORD_FINISHED_INIT = 82
PERF_RECORD_COMPRESSED2 = 83
PERF_RECORD_BPF_METADATA = 84
PERF_RECORD_SCHEDSTAT_CPU = 85
PERF_RECORD_SCHEDSTAT_DOMAIN = 86

# The kinds of PERF_RECORD_EVENT_UPDATE.
PERF_EVENT_UPDATE__UNIT = 0
PERF_EVENT_UPDATE__SCALE = 1
PERF_EVENT_UPDATE__NAME = 2
PERF_EVENT_UPDATE__CPUS = 3

PERF_RECORD_MISC_BUILD_ID_SIZE = 1 << 15  # in the header of a build id: the byte behind its 20 bytes is its length

# The names of the features by their numbers, from number 1 on: perf's, in lower case.
FEATURES = dict(
    enumerate(
        (
            "tracing_data",
            "build_id",
            "hostname",
            "osrelease",
            "version",
            "arch",
            "nrcpus",
            "cpudesc",
            "cpuid",
            "total_mem",
            "cmdline",
            "event_desc",
            "cpu_topology",
            "numa_topology",
            "branch_stack",
            "pmu_mappings",
            "group_desc",
            "auxtrace",
            "stat",
            "cache",
            "sample_time",
            "mem_topology",
            "clockid",
            "dir_format",
            "bpf_prog_info",
            "bpf_btf",
            "compressed",
            "cpu_pmu_caps",
            "clock_data",
            "hybrid_topology",
            "pmu_caps",
            "cpu_domain_info",
            "e_machine",
            "cln_size",
        ),
        1,
    )
)
FEATURE_NUMBERS = {name: number for number, name in FEATURES.items()}
