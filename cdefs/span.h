/* What of a ring waits to be read, record by record: for ring.c and drain.c. Not installed, not read by cffi. */
#pragma once
#include "internal.h"
#include "ring.h"

#include <unistd.h>

/* Bytes of a ring that wait to be read: `available` from position `start` on. Positions are 64-bit and are not reduced
 * modulo the ring's size; the byte at a position is data[position & mask]. */
struct span {
    const char *data;
    uint64_t mask;
    uint64_t start;
    uint64_t available;
};

/* On 32-bit machines a 64-bit load consists of two, and the kernel may write between them. That is harmless: of a
 * position that the kernel writes, difference() uses only the low half, which is one load. */
static inline uint64_t load_acquire(const uint64_t *position)
{
#if __SIZEOF_LONG__ == 8
    return __atomic_load_n(position, __ATOMIC_ACQUIRE);
#else
    const uint64_t value = *(const volatile uint64_t *)position;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return value;
#endif
}

static inline void store_release(uint64_t *position, uint64_t value)
{
#if __SIZEOF_LONG__ == 8
    __atomic_store_n(position, value, __ATOMIC_RELEASE);
#else
    __atomic_thread_fence(__ATOMIC_RELEASE);
    *(volatile uint64_t *)position = value;
#endif
}

/* How many bytes `position` is ahead of `from`. A 32-bit kernel keeps positions in an unsigned long, which wraps: there
 * only the low 32 bits of the difference are right. They suffice, since a ring there is shorter than 4 GiB. */
static inline uint64_t difference(uint64_t position, uint64_t from)
{
    return sizeof(long) < sizeof position ? (uint32_t)(position - from) : position - from;
}

static inline uint64_t page_size(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

static inline int is_ring_size(uint64_t size)
{
    return size >= page_size() && (size & (size - 1)) == 0;
}

/* Set `*s` to the bytes between tail and head. Returns 0; or -1 with EINVAL if this cannot be a ring that is read
 * forward. */
static inline int find_unread(const struct perf_event_mmap_page *page, uint64_t data_size, struct span *s)
{
    if (!is_ring_size(data_size))
        return fail(EINVAL);
    s->data = (const char *)page + page_size();
    s->mask = data_size - 1;
    s->start = ring_tail(page);
    s->available = difference(load_acquire(&page->data_head), s->start);
    if (s->available > data_size || s->start % 8 || s->available % 8)
        return fail(EINVAL);
    return 0;
}

/* The size of the record that begins `done` bytes into the span; 0 if none can be there. A header has 8 bytes, and
 * positions are multiples of 8: so no header is split between the ring's end and its start. */
static inline size_t record_size(const struct span *s, uint64_t done)
{
    struct perf_event_header header;

    if (s->available - done < sizeof header)
        return 0;
    header = read_header(s->data + ((s->start + done) & s->mask));
    return header_fits(&header, s->available - done) && header.size % 8 == 0 ? header.size : 0;
}

/* The total size of as many leading records of the span as fit into `size` bytes. `*next` is the size of the record
 * after them; 0 if that one is corrupt, or there is none. */
static inline size_t whole_records(const struct span *s, size_t size, size_t *next)
{
    size_t done = 0;

    while ((*next = record_size(s, done)) != 0 && *next <= size - done)
        done += *next;
    return done;
}

static inline void copy_out(const struct span *s, void *buffer, size_t size)
{
    const size_t first = (size_t)(s->start & s->mask), room = (size_t)(s->mask + 1) - first;

    if (size <= room) {
        memcpy(buffer, s->data + first, size);
    } else {
        memcpy(buffer, s->data + first, room);
        memcpy((char *)buffer + room, s->data, size - room);
    }
}
