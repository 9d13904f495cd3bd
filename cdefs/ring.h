/* The mapped ring: control page, data ring, AUX ring. The reader's side of the kernel's kernel/events/ring_buffer.c. */
#pragma once
#ifndef CFFI_CDEF
#include <stddef.h>
#include "kernel/perf_event.h"
#endif

/* What ring_drain notes of one ring: `available` bytes were waiting from position `start` on, of which it moves
 * `taken`. `is_done` is 1 once the next record does not fit into the rest of the buffer. */
struct ring_share {
    uint64_t start, available, taken;
    uint64_t next, is_done; /* used by ring_drain alone */
};

#ifdef PERF_EVENT_OPEN_SYS_BUILD

/* Map `size` bytes of an event's ring from `offset` on; NULL and errno on failure. */
void *ring_map(int fd, size_t size, uint64_t offset, int writable);
int ring_unmap(void *address, size_t size);

uint64_t ring_head(const struct perf_event_mmap_page *page);
uint64_t ring_tail(const struct perf_event_mmap_page *page);
void ring_set_tail(struct perf_event_mmap_page *page, uint64_t tail);

/* Return the size of the data ring in bytes by data_offset and data_size in the page; 0 if these are not a ring's.
 * Every process that has the event's file descriptor can map the page and write to it. A caller that has mapped the
 * ring should keep the size that it mapped, and use the functions ending in _sized. */
uint64_t ring_data_size(const struct perf_event_mmap_page *page);

/* The functions below return a number of bytes, or -1 with
 *   EINVAL   this is not such a ring: its size is not a power of two of at least a page, or the head is further from
 *            the tail than the ring is long;
 *   ENOBUFS  the buffer's `size` bytes are too few for the next record (ring_next_size returns its size): nothing was
 *            consumed;
 *   EBADMSG  the next record is corrupt: its size is below 8, no multiple of 8, or more than the ring has to be read.
 * The data ring begins one page after the start of the control page. Functions ending in _sized take the size of the
 * mapped ring in bytes as an argument; the others read it from the page. */

/* Copy as many whole records as fit to `buffer`, oldest first, and advance data_tail past them: the kernel may then
 * overwrite them. */
long ring_read(struct perf_event_mmap_page *page, void *buffer, size_t size);
long ring_read_sized(struct perf_event_mmap_page *page, uint64_t data_size, void *buffer, size_t size);
long ring_next_size(const struct perf_event_mmap_page *page);
long ring_next_size_sized(const struct perf_event_mmap_page *page, uint64_t data_size);

/* Move whole records of `n` rings to `buffer`, ring after ring. If everything that is waiting fits, no record header is
 * looked at. If not, each ring gets an equal share of the buffer, or its next record where that alone is larger than a
 * share; what small rings do not use of their shares goes to the rings that have more. If the buffer does not hold the
 * next record of every ring, the rings of which least has been consumed so far (those with the lowest data_tail) get
 * theirs. `data_sizes` are the sizes of the rings in bytes; `shares` is memory for `n` elements, whose content on entry
 * does not matter. On failure nothing was consumed from any ring: with EINVAL and EBADMSG `*needed` is the index of the
 * ring; with ENOBUFS, which means that no ring's next record fits, it is the size of the smallest of these records. */
long ring_drain(struct perf_event_mmap_page *const *pages, const uint64_t *data_sizes, size_t n, void *buffer, size_t size,
                struct ring_share *shares, size_t *needed);

/* Copy whole records of a ring that the kernel writes backward (attr.write_backward), newest first. Nothing is
 * consumed. If the kernel writes during the copy, it may overwrite the oldest records: those are left out. */
long ring_snapshot(const struct perf_event_mmap_page *page, void *buffer, size_t size);
long ring_snapshot_sized(const struct perf_event_mmap_page *page, uint64_t data_size, void *buffer, size_t size);

/* Copy the unread bytes of the AUX ring mapped at `aux` to `buffer`, oldest first, as many as fit, and advance aux_tail
 * past them. */
long ring_read_aux(struct perf_event_mmap_page *page, const void *aux, void *buffer, size_t size);
long ring_read_aux_sized(struct perf_event_mmap_page *page, const void *aux, uint64_t aux_size, void *buffer,
                         size_t size);

#endif
