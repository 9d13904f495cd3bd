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

/* `data_size` and `aux_size` are the sizes that were mapped, in bytes: powers of two. The data ring begins one page after
 * the control page. The functions below return a number of bytes, or -1 with
 *   EINVAL   no such ring: a size that is none, or a head that is further from the tail than the ring is long;
 *   ENOBUFS  `size` bytes do not hold the next record (ring_next_size says how many would): nothing was consumed;
 *   EBADMSG  the next record's size cannot be: below its header, no multiple of 8, or beyond what is there. */

/* Move as many whole records as fit to `buffer`, oldest first, and give their room back to the kernel. */
long ring_read(struct perf_event_mmap_page *page, uint64_t data_size, void *buffer, size_t size);
long ring_next_size(const struct perf_event_mmap_page *page, uint64_t data_size);

/* Copy whole records of a ring that the kernel writes backward, newest first. The oldest of a full ring that is being
 * written are left out, where the kernel has overwritten them meanwhile, or may be doing so. */
long ring_snapshot(const struct perf_event_mmap_page *page, uint64_t data_size, void *buffer, size_t size);

/* Move what is in the AUX ring to `buffer`, oldest first, as much as fits. */
long ring_read_aux(struct perf_event_mmap_page *page, const void *aux, uint64_t aux_size, void *buffer, size_t size);

#ifdef __cplusplus
}
#endif
