#define _GNU_SOURCE
#include "ring.h"

#include "internal.h"

#include <sys/mman.h>
#include <unistd.h>

/* Bytes of a ring that wait to be read: `available` from position `start` on. Positions are 64-bit and only grow; a
 * position's place in `data` is `position & mask`. */
struct span {
    const char *data;
    uint64_t mask;
    uint64_t start;
    uint64_t available;
};

void *ring_map(int fd, size_t size, uint64_t offset, int writable)
{
    void *address = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, (off_t)offset);
    return address == MAP_FAILED ? NULL : address;
}

int ring_unmap(void *address, size_t size)
{
    return munmap(address, size);
}

/* On 32-bit machines a load of 64 bits may tear. That is harmless: difference() uses only the low half of a position
 * that the kernel writes, and that half is loaded whole. */
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

/* How far `position` is ahead of `from`. A 32-bit kernel counts positions in an unsigned long, which wraps: there only
 * the low 32 bits of the difference are right, and no ring is longer than they can say. */
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

static uint64_t page_size(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

static int is_ring_size(uint64_t size)
{
    return size >= page_size() && (size & (size - 1)) == 0;
}

uint64_t ring_data_size(const struct perf_event_mmap_page *page)
{
    const uint64_t offset = *(const volatile uint64_t *)&page->data_offset;
    const uint64_t size = *(const volatile uint64_t *)&page->data_size;
    return offset == page_size() && is_ring_size(size) ? size : 0;
}

/* Find what is between tail and head: 0, or -1 where the page cannot be a ring that is read forward. */
static int find_unread(const struct perf_event_mmap_page *page, uint64_t data_size, struct span *s)
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

/* The size of the record `done` bytes into the span, 0 if none can be there. A header has 8 bytes, and positions are
 * multiples of 8: so a header never wraps. */
static size_t record_size(const struct span *s, uint64_t done)
{
    struct perf_event_header header;

    if (s->available - done < sizeof header)
        return 0;
    header = read_header(s->data + ((s->start + done) & s->mask));
    return header_fits(&header, s->available - done) && header.size % 8 == 0 ? header.size : 0;
}

/* The size of the leading whole records that fit into `size` bytes; `*next` is the size of the record after them. */
static size_t whole_records(const struct span *s, size_t size, size_t *next)
{
    size_t done = 0;

    *next = 0;
    while (done < s->available && (*next = record_size(s, done)) != 0 && *next <= size - done)
        done += *next;
    return done;
}

/* The size of the largest of the records that fill the span. */
static size_t largest_record(const struct span *s)
{
    size_t size, largest = 0;

    for (uint64_t done = 0; done < s->available && (size = record_size(s, done)) != 0; done += size)
        largest = size > largest ? size : largest;
    return largest;
}

/* The size of the leading whole records of a copy, newest first, that the kernel did not overwrite: it has written
 * `written` bytes to the ring of `data_size` since the copy began, over the oldest. */
static size_t intact_size(const struct span *copy, uint64_t data_size, uint64_t written)
{
    const uint64_t untouched = written < data_size ? data_size - written : 0;
    struct span s = *copy;
    size_t next;

    if (s.available > untouched)
        s.available = untouched;
    return whole_records(&s, (size_t)s.available, &next);
}

static void copy_out(const struct span *s, void *buffer, size_t size)
{
    const size_t first = (size_t)(s->start & s->mask), room = (size_t)(s->mask + 1) - first;

    if (size <= room) {
        memcpy(buffer, s->data + first, size);
    } else {
        memcpy(buffer, s->data + first, room);
        memcpy((char *)buffer + room, s->data, size - room);
    }
}

/* True if data_head does not change over 10,000 loads: the kernel is not writing. That is longer than it takes from
 * writing a record to storing the head (perf_output_put_handle), unless it is interrupted in between. */
static int is_at_rest(const struct perf_event_mmap_page *page, uint64_t head)
{
    for (int i = 0; i < 10000; i++)
        if (ring_head(page) != head)
            return 0;
    return 1;
}

long ring_read(struct perf_event_mmap_page *page, uint64_t data_size, void *buffer, size_t size)
{
    struct span s;
    size_t next, done;

    if (find_unread(page, data_size, &s) < 0)
        return -1;
    if (s.available == 0)
        return 0;
    done = s.available <= size ? (size_t)s.available : whole_records(&s, size, &next);
    if (done == 0)
        return fail(next ? ENOBUFS : EBADMSG);
    copy_out(&s, buffer, done);
    ring_set_tail(page, s.start + done);
    return (long)done;
}

long ring_next_size(const struct perf_event_mmap_page *page, uint64_t data_size)
{
    struct span s;
    size_t size;

    if (find_unread(page, data_size, &s) < 0)
        return -1;
    if (s.available == 0)
        return 0;
    size = record_size(&s, 0);
    return size ? (long)size : fail(EBADMSG);
}

long ring_snapshot(const struct perf_event_mmap_page *page, uint64_t data_size, void *buffer, size_t size)
{
    struct span s, copy = {buffer, ~UINT64_C(0), 0, 0};
    uint64_t written;
    size_t next, done, intact;

    if (!is_ring_size(data_size))
        return fail(EINVAL);
    s.data = (const char *)page + page_size();
    s.mask = data_size - 1;
    s.start = ring_head(page);
    /* The head starts at 0 and falls, so that it is negative; the newest record is at the head. On 32-bit kernels
     * positions wrap after 4 GiB, and the sign proves nothing. */
    if ((sizeof(long) == sizeof s.start && (int64_t)s.start > 0) || s.start % 8)
        return fail(EINVAL);
    s.available = difference(0, s.start);
    if (s.available > data_size)
        s.available = data_size;
    done = whole_records(&s, size, &next);
    if (done == 0)
        return next ? fail(ENOBUFS) : 0;
    copy_out(&s, buffer, done);
    /* What the kernel wrote during the copy replaced the oldest records: leave those out. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    copy.available = done;
    written = s.start - ring_head(page);
    done = intact_size(&copy, data_size, written);
    /* The kernel may also be half-way through a record that data_head does not tell yet. It is taken to be no larger
     * than the largest of these; only of a ring that nobody writes is everything given. */
    intact = intact_size(&copy, data_size, written + largest_record(&copy));
    if (intact == 0 || intact == done || (written == 0 && is_at_rest(page, s.start)))
        return (long)done;
    return (long)intact;
}

long ring_read_aux(struct perf_event_mmap_page *page, const void *aux, uint64_t aux_size, void *buffer, size_t size)
{
    /* As data_head and data_tail: perf_aux_output_end, perf_aux_output_begin. The tail is stored whole, never masked. */
    const uint64_t head = load_acquire(&page->aux_head), tail = page->aux_tail;
    const struct span s = {aux, aux_size - 1, tail, difference(head, tail)};

    if (aux_size == 0 || aux_size & s.mask || s.available > aux_size)
        return fail(EINVAL);
    if (size > s.available)
        size = (size_t)s.available;
    copy_out(&s, buffer, size);
    store_release(&page->aux_tail, tail + size);
    return (long)size;
}
