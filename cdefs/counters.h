/* Counts of events: read(2) in any read_format, many files at once, scaling. */
#pragma once
#ifndef CFFI_CDEF
#include <stddef.h>
#include "kernel/perf_event.h"
#endif
#ifdef __cplusplus
extern "C" {
#endif

/* One event's count, whatever its read_format; what the format lacks is 0. Times are in nanoseconds. */
struct perf_counts {
    uint64_t value;
    uint64_t time_enabled;
    uint64_t time_running;
    uint64_t id;
    uint64_t lost;
};

/* How many bytes read(2) returns for `nr` members; without PERF_FORMAT_GROUP `nr` is 1. */
size_t counters_size(uint64_t read_format, size_t nr);

/* Decode what read(2) returned, at most `n` members. Returns how many the data holds, which may be more than `n`
 * (call again), or -1 with EBADMSG if `read_format` does not describe `size` bytes. */
int counters_parse(const void *data, size_t size, uint64_t read_format, struct perf_counts *out, size_t n);

/* Read one event or group: as counters_parse, and 0 at the end of file of a pinned event without its place. */
int counters_read(int fd, uint64_t read_format, struct perf_counts *out, size_t n);

/* Read `nfds` events or groups one after the other. Returns how many elements were filled; or -1 with the index of the
 * event that failed in `*failed_at`, the counts of those before it in `out`, and in errno that of read(2), ENODATA for an
 * end of file, EBADMSG if `read_format` is not the event's, ENOBUFS if `n` elements are too few. */
long counters_read_many(const int *fds, size_t nfds, uint64_t read_format, struct perf_counts *out, size_t n,
                        size_t *failed_at);

/* value * time_enabled / time_running as 128 bits, rounded down: scaled[0] is the low word. Returns 1; or 0 where the
 * event was enabled and never ran, so that nothing was measured. */
int counters_scale(const struct perf_counts *counts, uint64_t scaled[2]);

/* What counters_read_user collects in its loop: fields of the page, the counter (pmc) and the cycle clock (cycles). */
struct perf_user_read {
    uint64_t time_enabled, time_running;
    uint64_t time_offset, time_cycles, time_mask;
    uint64_t pmc, cycles;
    int64_t offset;
    uint32_t index, time_mult;
    uint16_t pmc_width, time_shift;
    uint8_t cap_user_time, cap_user_time_short;
};

/* Read an event of the calling thread without a system call. Returns 1; or 0 where the kernel or the architecture allows
 * no such read of this event. */
int counters_read_user(const struct perf_event_mmap_page *page, struct perf_counts *out);

/* Compute value and times from what counters_read_user collected. */
void counters_compute_user(const struct perf_user_read *in, struct perf_counts *out);

#ifdef __cplusplus
}
#endif
