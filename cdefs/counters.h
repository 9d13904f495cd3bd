/* Counts of events: read(2) in any read_format, many files at once, scaling. */
#pragma once
#ifndef CFFI_CDEF
#include <stddef.h>
#include "kernel/perf_event.h"
#endif
/* One event's count. A field that the event's read_format does not ask for is 0. Times are in nanoseconds. */
struct perf_counts {
    uint64_t value;
    uint64_t time_enabled;
    uint64_t time_running;
    uint64_t id;
    uint64_t lost;
};

/* What counters_read_user reads in its loop: fields of the control page by their names there, the hardware counter
 * (pmc) and the clock that time_mult and time_shift refer to (cycles). */
struct perf_user_read {
    uint64_t time_enabled, time_running;
    uint64_t time_offset, time_cycles, time_mask;
    uint64_t pmc, cycles;
    int64_t offset;
    uint32_t index, time_mult;
    uint16_t pmc_width, time_shift;
    uint8_t cap_user_time, cap_user_time_short;
};

#ifdef PERF_EVENT_OPEN_SYS_BUILD

/* How many bytes read(2) returns for a group of `nr` members; without PERF_FORMAT_GROUP `nr` is 1. */
size_t counters_size(uint64_t read_format, size_t nr);

/* Decode the `size` bytes that read(2) returned: at most `n` members, into `out`. Returns how many members the data
 * holds; if that is more than `n`, call again with a larger `out`. Returns -1 with EBADMSG if data of this
 * `read_format` cannot have `size` bytes. */
int counters_parse(const void *data, size_t size, uint64_t read_format, struct perf_counts *out, size_t n);

/* Read one event or group with read(2), and decode it. Returns as counters_parse; -1 with read(2)'s errno; or 0 where
 * read(2) returns 0, as it does for a pinned event that could not be kept on its PMU. */
int counters_read(int fd, uint64_t read_format, struct perf_counts *out, size_t n);

/* Read `nfds` events or groups, one after the other, into `out`, which has `n` elements. Returns how many elements were
 * filled. On failure returns -1; `*failed_at` is the index of the event that failed, the counts of the events before it
 * are in `out`, and errno is read(2)'s, or ENODATA where read(2) returned 0 (see counters_read), EBADMSG if
 * `read_format` is not the event's, ENOBUFS if `n` elements are too few. */
long counters_read_many(const int *fds, size_t nfds, uint64_t read_format, struct perf_counts *out, size_t n,
                        size_t *failed_at);

/* Compute value * time_enabled / time_running, rounded down, as 128 bits: scaled[0] is the low word. If both times are
 * 0, as without times in the read_format, the result is the value itself. Returns 1; or 0 if time_running is 0 and
 * time_enabled is not: the event was never on the PMU, so that nothing was measured. */
int counters_scale(const struct perf_counts *counts, uint64_t scaled[2]);

/* Read an event of the calling thread without a system call, by its control page. Returns 1; or 0 if the kernel does
 * not allow it for this event (cap_user_rdpmc is not set) or this architecture has no instruction for it. */
int counters_read_user(const struct perf_event_mmap_page *page, struct perf_counts *out);

/* Compute value and times from what counters_read_user has read. */
void counters_compute_user(const struct perf_user_read *in, struct perf_counts *out);

#endif
