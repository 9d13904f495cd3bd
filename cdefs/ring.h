/* The mapped ring: control page, data ring, AUX ring. The reader's side of the kernel's kernel/events/ring_buffer.c. */
#pragma once
#ifndef CFFI_CDEF
#include <stddef.h>
#include "kernel/perf_event.h"
#endif
#ifdef __cplusplus
extern "C" {
#endif

/* Map `size` bytes of the event's ring from `offset`; NULL and errno on failure. */
void *ring_map(int fd, size_t size, uint64_t offset, int writable);
int ring_unmap(void *address, size_t size);

uint64_t ring_head(const struct perf_event_mmap_page *page);
uint64_t ring_tail(const struct perf_event_mmap_page *page);
void ring_set_tail(struct perf_event_mmap_page *page, uint64_t tail);

/* The functions below return a number of bytes, or -1 with
 *   EINVAL   the page is no such ring: its geometry, or a head that is further from the tail than the ring is long;
 *   ENOBUFS  `size` bytes do not hold the next record (ring_next_size says how many would): nothing was consumed;
 *   EBADMSG  the next record's size cannot be: below its header, no multiple of 8, or beyond what is there. */

/* Move as many whole records as fit to `buffer`, oldest first, and give their room back to the kernel. */
long ring_read(struct perf_event_mmap_page *page, void *buffer, size_t size);
long ring_next_size(const struct perf_event_mmap_page *page);

/* Copy whole records of a ring that the kernel writes backward, newest first, up to the first that is torn, or may be:
 * the oldest of a full ring that is being written. */
long ring_snapshot(const struct perf_event_mmap_page *page, void *buffer, size_t size);

/* Move what is in the AUX ring to `buffer`, oldest first, as much as fits. */
long ring_read_aux(struct perf_event_mmap_page *page, const void *aux, void *buffer, size_t size);

#ifdef __cplusplus
}
#endif
