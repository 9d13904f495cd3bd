"""Build script: C functions that take the structs of perf_event_open_sys."""

from cffi import FFI

from perf_event_open_sys import get_ffibuilder, get_include

ffibuilder = FFI()
ffibuilder.include(get_ffibuilder())
ffibuilder.cdef("uint64_t longest_gap(const struct perf_sample *samples, size_t n);")
ffibuilder.set_source(
    "_faults_cffi",
    """
    #include "perf_event_open_sys.h"

    /* The longest time between two samples, in nanoseconds. */
    static uint64_t longest_gap(const struct perf_sample *samples, size_t n)
    {
        uint64_t longest = 0;
        for (size_t i = 1; i < n; i++)
            if (samples[i].time - samples[i - 1].time > longest)
                longest = samples[i].time - samples[i - 1].time;
        return longest;
    }
    """,
    include_dirs=[get_include()],
)
