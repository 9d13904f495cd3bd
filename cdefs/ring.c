#define _GNU_SOURCE
#include "ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A stretch of a ring: `available` bytes from position `start`, positions being 64-bit and monotonic. */
struct stretch {
    const char *data;
    uint64_t mask;
    uint64_t start;
    uint64_t available;
};

static int failed(int error)
{
    errno = error;
    return -1;
}

void *ring_map(int fd, size_t size, uint64_t offset, int writable)
{
    void *address = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, (off_t)offset);
    return address == MAP_FAILED ? NULL : address;
}

int ring_unmap(void *address, size_t size)
{
    return munmap(address, size);
}

/* Where a long has 32 bits, a position may be moved in two halves: of another's, difference() needs only the lower. */
static uint64_t load_acquire(const uint64_t *position)
{
#if __SIZEOF_LONG__ == 8
    return __atomic_load_n(position, __ATOMIC_ACQUIRE);
#else
    const uint64_t value = *(const volatile uint64_t *)position;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return value;
#endif
}

static void store_release(uint64_t *position, uint64_t value)
{
#if __SIZEOF_LONG__ == 8
    __atomic_store_n(position, value, __ATOMIC_RELEASE);
#else
    __atomic_thread_fence(__ATOMIC_RELEASE);
    *(volatile uint64_t *)position = value;
#endif
}

/* The kernel counts positions in an unsigned long, so that one of 32 bits lets them wrap there. The difference of two
 * is right in as many bits: no ring is longer. */
static uint64_t difference(uint64_t position, uint64_t from)
{
    return sizeof(long) < sizeof position ? (uint32_t)(position - from) : position - from;
}

uint64_t ring_head(const struct perf_event_mmap_page *page)
{
    /* Pairs with the store-release of the head in perf_output_put_handle: no record is read before its head is. */
    const uint64_t head = load_acquire(&page->data_head), tail = ring_tail(page);
    return tail + difference(head, tail);
}

uint64_t ring_tail(const struct perf_event_mmap_page *page)
{
    return *(const volatile uint64_t *)&page->data_tail;
}

void ring_set_tail(struct perf_event_mmap_page *page, uint64_t tail)
{
    /* Pairs with the kernel's read of the tail in __perf_output_begin: the copies are done before their room is free. */
    store_release(&page->data_tail, tail);
}

static int is_ring(uint64_t offset, uint64_t size)
{
    const uint64_t page_size = (uint64_t)sysconf(_SC_PAGESIZE);
    return offset == page_size && size >= page_size && (size & (size - 1)) == 0;
}

/* What is between tail and head; -1 where the page cannot be a ring that is read forward. */
static int unread(const struct perf_event_mmap_page *page, struct stretch *s)
{
    if (!is_ring(page->data_offset, page->data_size))
        return failed(EINVAL);
    s->data = (const char *)page + page->data_offset;
    s->mask = page->data_size - 1;
    s->start = ring_tail(page);
    s->available = ring_head(page) - s->start;
    if (s->available > page->data_size || s->start % 8 || s->available % 8)
        return failed(EINVAL);
    return 0;
}

/* The size of the record `done` bytes into the stretch, 0 if it cannot be. Positions are multiples of 8, so that a
 * header never wraps. */
static size_t record_size(const struct stretch *s, uint64_t done)
{
    struct perf_event_header header;

    if (s->available - done < sizeof header)
        return 0;
    memcpy(&header, s->data + ((s->start + done) & s->mask), sizeof header);
    if (header.size < sizeof header || header.size % 8 || header.size > s->available - done)
        return 0;
    return header.size;
}

/* How many bytes the whole records take that come first and fit into `size`; `*next` is the size of the one after. */
static size_t whole_records(const struct stretch *s, size_t size, size_t *next)
{
    size_t done = 0;

    *next = 0;
    while (done < s->available && (*next = record_size(s, done)) != 0 && *next <= size - done)
        done += *next;
    return done;
}

/* The size of the largest of the records that fill the stretch. */
static size_t largest_record(const struct stretch *s)
{
    size_t size, largest = 0;

    for (uint64_t done = 0; done < s->available && (size = record_size(s, done)) != 0; done += size)
        largest = size > largest ? size : largest;
    return largest;
}

/* How many bytes the whole records of a copy take that the last `written` bytes of its ring do not touch. */
static size_t before(const struct stretch *copy, uint64_t ring, uint64_t written)
{
    const uint64_t untouched = written < ring ? ring - written : 0;
    struct stretch s = *copy;
    size_t next;

    if (s.available > untouched)
        s.available = untouched;
    return whole_records(&s, (size_t)s.available, &next);
}

static void copy_out(const struct stretch *s, void *buffer, size_t size)
{
    const size_t first = (size_t)(s->start & s->mask), room = (size_t)(s->mask + 1) - first;

    if (size <= room) {
        memcpy(buffer, s->data + first, size);
    } else {
        memcpy(buffer, s->data + first, room);
        memcpy((char *)buffer + room, s->data, size - room);
    }
}

/* Whether the head stands while it is looked at for some microseconds: longer than the kernel takes from writing a record
 * to storing its head (perf_output_put_handle), unless its CPU is taken away in between. */
static int is_at_rest(const struct perf_event_mmap_page *page, uint64_t head)
{
    for (int i = 0; i < 10000; i++)
        if (ring_head(page) != head)
            return 0;
    return 1;
}

long ring_read(struct perf_event_mmap_page *page, void *buffer, size_t size)
{
    struct stretch s;
    size_t next, done;

    if (unread(page, &s) < 0)
        return -1;
    if (s.available == 0)
        return 0;
    done = s.available <= size ? (size_t)s.available : whole_records(&s, size, &next);
    if (done == 0)
        return failed(next ? ENOBUFS : EBADMSG);
    copy_out(&s, buffer, done);
    ring_set_tail(page, s.start + done);
    return (long)done;
}

long ring_next_size(const struct perf_event_mmap_page *page)
{
    struct stretch s;
    size_t size;

    if (unread(page, &s) < 0)
        return -1;
    if (s.available == 0)
        return 0;
    size = record_size(&s, 0);
    return size ? (long)size : failed(EBADMSG);
}

long ring_snapshot(const struct perf_event_mmap_page *page, void *buffer, size_t size)
{
    struct stretch s, copy = {buffer, ~UINT64_C(0), 0, 0};
    uint64_t written;
    size_t next, done, intact;

    if (!is_ring(page->data_offset, page->data_size))
        return failed(EINVAL);
    s.data = (const char *)page + page->data_offset;
    s.mask = page->data_size - 1;
    s.start = ring_head(page);
    /* The head runs down from 0, and the newest record is at the head. Of 32 bits the sign says nothing for long. */
    if ((sizeof(long) == sizeof s.start && (int64_t)s.start > 0) || s.start % 8)
        return failed(EINVAL);
    s.available = difference(0, s.start);
    if (s.available > page->data_size)
        s.available = page->data_size;
    done = whole_records(&s, size, &next);
    if (done == 0)
        return next ? failed(ENOBUFS) : 0;
    copy_out(&s, buffer, done);
    /* What the kernel wrote meanwhile took the place of the oldest: drop the records that it reached. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    copy.available = done;
    written = s.start - ring_head(page);
    done = before(&copy, page->data_size, written);
    /* So may the record that it is writing now, taken to be no larger than these; a ring at rest is given whole. */
    intact = before(&copy, page->data_size, written + largest_record(&copy));
    if (intact == 0 || intact == done || (written == 0 && is_at_rest(page, s.start)))
        return (long)done;
    return (long)intact;
}

long ring_read_aux(struct perf_event_mmap_page *page, const void *aux, void *buffer, size_t size)
{
    /* As data_head and data_tail: perf_aux_output_end, perf_aux_output_begin. The tail is stored whole, never masked. */
    const uint64_t head = load_acquire(&page->aux_head);
    const struct stretch s = {aux, page->aux_size - 1, page->aux_tail, difference(head, page->aux_tail)};

    if (page->aux_size == 0 || page->aux_size & s.mask || s.available > page->aux_size)
        return failed(EINVAL);
    if (size > s.available)
        size = (size_t)s.available;
    copy_out(&s, buffer, size);
    store_release(&page->aux_tail, s.start + size);
    return (long)size;
}
