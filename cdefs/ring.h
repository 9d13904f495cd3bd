/* The mapped ring: control page, data ring, AUX ring. The reader's side of the kernel's kernel/events/ring_buffer.c. */
#pragma once
#ifndef CFFI_CDEF
#include <stddef.h>
#include "kernel/perf_event.h"
#endif
#ifdef __cplusplus
extern "C" {
#endif

/* Map `size` bytes of an event's ring from `offset` on; NULL and errno on failure. */
void *ring_map(int fd, size_t size, uint64_t offset, int writable);
int ring_unmap(void *address, size_t size);

uint64_t ring_head(const struct perf_event_mmap_page *page);
uint64_t ring_tail(const struct perf_event_mmap_page *page);
void ring_set_tail(struct perf_event_mmap_page *page, uint64_t tail);

/* The size of the data ring as the page tells it, 0 where that can be none. Everybody who has the event's file
 * descriptor may write the page: who has mapped the ring himself knows its size better. */
uint64_t ring_data_size(const struct perf_event_mmap_page *page);

/* The functions below return a number of bytes, or -1 with
 *   EINVAL   no such ring: a size that is none, or a head that is further from the tail than the ring is long;
 *   ENOBUFS  `size` bytes do not hold the next record (ring_next_size says how many would): nothing was consumed;
 *   EBADMSG  the next record's size cannot be: below its header, no multiple of 8, or beyond what is there.
 * The data ring begins one page after the control page. The functions that end in _sized are given the sizes that were
 * mapped, in bytes, powers of two; the others go by what the page says. */

/* Move as many whole records as fit to `buffer`, oldest first, and give their room back to the kernel. */
long ring_read(struct perf_event_mmap_page *page, void *buffer, size_t size);
long ring_read_sized(struct perf_event_mmap_page *page, uint64_t data_size, void *buffer, size_t size);
long ring_next_size(const struct perf_event_mmap_page *page);
long ring_next_size_sized(const struct perf_event_mmap_page *page, uint64_t data_size);

/* What ring_drain found in a ring, and took of it: `taken` bytes. */
struct ring_share {
    uint64_t start, available, taken, is_done;
};

/* Move whole records of `n` rings to `buffer`, ring after ring. If all that is waiting fits, no header is looked at. If
 * not, each ring first gets an equal share of the buffer; what small rings leave over goes to those that have more.
 * `shares` has room for `n`. On failure nothing was consumed: EINVAL and EBADMSG with the ring's index in `*needed`,
 * ENOBUFS, where no next record fits, with the size of the smallest there. */
long ring_drain(struct perf_event_mmap_page *const *pages, const uint64_t *data_sizes, size_t n, void *buffer, size_t size,
                struct ring_share *shares, size_t *needed);

/* Copy whole records of a ring that the kernel writes backward, newest first. The oldest of a full ring that is being
 * written are left out, where the kernel has overwritten them meanwhile, or may be doing so. */
long ring_snapshot(const struct perf_event_mmap_page *page, void *buffer, size_t size);
long ring_snapshot_sized(const struct perf_event_mmap_page *page, uint64_t data_size, void *buffer, size_t size);

/* Move what is in the AUX ring to `buffer`, oldest first, as much as fits. */
long ring_read_aux(struct perf_event_mmap_page *page, const void *aux, void *buffer, size_t size);
long ring_read_aux_sized(struct perf_event_mmap_page *page, const void *aux, uint64_t aux_size, void *buffer,
                         size_t size);

#ifdef __cplusplus
}
#endif
