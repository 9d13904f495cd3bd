#define _GNU_SOURCE
#include "ring.h"

#include "internal.h"

#include <sys/mman.h>
#include <unistd.h>

/* Bytes of a ring that wait to be read: `available` from position `start` on. Positions are 64-bit and are not reduced
 * modulo the ring's size; the byte at a position is data[position & mask]. */
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

/* On 32-bit machines a 64-bit load consists of two, and the kernel may write between them. That is harmless: of a
 * position that the kernel writes, difference() uses only the low half, which is one load. */
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

/* How many bytes `position` is ahead of `from`. A 32-bit kernel keeps positions in an unsigned long, which wraps: there
 * only the low 32 bits of the difference are right. They suffice, since a ring there is shorter than 4 GiB. */
static uint64_t difference(uint64_t position, uint64_t from)
{
    return sizeof(long) < sizeof position ? (uint32_t)(position - from) : position - from;
}

uint64_t ring_head(const struct perf_event_mmap_page *page)
{
    /* Pairs with the store of data_head in perf_output_put_handle: the bytes of a record are loaded only after a head
     * that lies behind it. */
    const uint64_t head = load_acquire(&page->data_head), tail = ring_tail(page);
    return tail + difference(head, tail);
}

uint64_t ring_tail(const struct perf_event_mmap_page *page)
{
    return *(const volatile uint64_t *)&page->data_tail;
}

void ring_set_tail(struct perf_event_mmap_page *page, uint64_t tail)
{
    /* Pairs with the load of data_tail in __perf_output_begin: the records have been copied out before the kernel may
     * overwrite them. */
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

/* Set `*s` to the bytes between tail and head. Returns 0; or -1 with EINVAL if this cannot be a ring that is read
 * forward. */
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

/* The size of the record that begins `done` bytes into the span; 0 if none can be there. A header has 8 bytes, and
 * positions are multiples of 8: so no header is split between the ring's end and its start. */
static size_t record_size(const struct span *s, uint64_t done)
{
    struct perf_event_header header;

    if (s->available - done < sizeof header)
        return 0;
    header = read_header(s->data + ((s->start + done) & s->mask));
    return header_fits(&header, s->available - done) && header.size % 8 == 0 ? header.size : 0;
}

/* The total size of as many leading records of the span as fit into `size` bytes. `*next` is the size of the record
 * after them; 0 if that one is corrupt. */
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

/* A copy of a backward ring has the newest record first. Since the copy began, the kernel has written `written` bytes
 * to the ring of `data_size` bytes, over the oldest. Returns the total size of the copy's leading whole records that
 * lie before the overwritten bytes. */
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

/* True if data_head does not change over 10,000 loads: then the kernel is not writing. The loads take longer than the
 * kernel needs from the first byte of a record to the store of data_head (perf_output_put_handle), unless it is
 * interrupted in between. */
static int is_at_rest(const struct perf_event_mmap_page *page, uint64_t head)
{
    for (int i = 0; i < 10000; i++)
        if (ring_head(page) != head)
            return 0;
    return 1;
}

long ring_read_sized(struct perf_event_mmap_page *page, uint64_t data_size, void *buffer, size_t size)
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

long ring_read(struct perf_event_mmap_page *page, void *buffer, size_t size)
{
    return ring_read_sized(page, ring_data_size(page), buffer, size);
}

long ring_next_size_sized(const struct perf_event_mmap_page *page, uint64_t data_size)
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

long ring_next_size(const struct perf_event_mmap_page *page)
{
    return ring_next_size_sized(page, ring_data_size(page));
}

/* Take everything of each ring that has no more than an equal share of the `*left` bytes of the buffer. The remaining
 * rings then have a larger share each: repeat until no further ring fits into its share. Returns how many rings have
 * more than their share; `*left` is then what the buffer has for these. */
static size_t grant_whole(struct ring_share *shares, size_t n, size_t *left)
{
    size_t waiting = 0, before;

    for (size_t i = 0; i < n; i++)
        waiting += shares[i].available != 0;
    do {
        before = waiting;
        for (size_t i = 0; i < n; i++) {
            struct ring_share *s = shares + i;
            if (s->taken == s->available || s->available > *left / waiting)
                continue;
            s->taken = s->available;
            *left -= (size_t)s->available;
            waiting--;
        }
    } while (waiting && waiting < before);
    return waiting;
}

/* Find the ring that has most bytes left, and take as many more of its records as fit into `*left` bytes; a ring is
 * found once only. Returns 0 if there was none. */
static int grant_rest(struct perf_event_mmap_page *const *pages, const uint64_t *data_sizes, struct ring_share *shares,
                      size_t n, size_t *left)
{
    struct ring_share *most = NULL;
    struct span span = {NULL, 0, 0, 0};
    size_t next, more;

    for (size_t i = 0; i < n; i++) {
        struct ring_share *s = shares + i;
        if (s->is_done || s->available == s->taken || (most && s->available - s->taken <= most->available - most->taken))
            continue;
        most = s;
        span = (struct span){(const char *)pages[i] + page_size(), data_sizes[i] - 1, s->start + s->taken,
                             s->available - s->taken};
    }
    if (!most)
        return 0;
    more = whole_records(&span, *left, &next);
    most->taken += more;
    most->is_done = 1; /* its next record is larger than the rest of the buffer */
    *left -= more;
    return 1;
}

/* More bytes are waiting in the rings than the buffer's `size`: decide how many of each ring are moved (its `taken`).
 * Returns 0; or -1, with errno and `*needed` as ring_drain sets them. */
static int share_out(struct perf_event_mmap_page *const *pages, const uint64_t *data_sizes, struct ring_share *shares,
                     size_t n, size_t size, size_t *needed)
{
    size_t left = size, smallest = SIZE_MAX, next;
    const size_t cut = grant_whole(shares, n, &left), share = cut ? left / cut : 0;
    int taken = left != size;

    for (size_t i = 0; cut && i < n; i++) {
        struct ring_share *s = shares + i;
        const struct span span = {(const char *)pages[i] + page_size(), data_sizes[i] - 1, s->start, s->available};
        if (s->taken == s->available)
            continue;
        s->taken = whole_records(&span, share, &next);
        left -= (size_t)s->taken;
        taken |= s->taken != 0;
        if (s->taken == 0 && next == 0) {
            *needed = i;
            return fail(EBADMSG);
        }
        if (next < smallest)
            smallest = next;
    }
    if (!cut)
        return 0;
    if (!taken && smallest > left) {
        *needed = smallest;
        return fail(ENOBUFS);
    }
    while (grant_rest(pages, data_sizes, shares, n, &left))
        continue;
    return 0;
}

long ring_drain(struct perf_event_mmap_page *const *pages, const uint64_t *data_sizes, size_t n, void *buffer, size_t size,
                struct ring_share *shares, size_t *needed)
{
    uint64_t waiting = 0;
    char *to = buffer;

    for (size_t i = 0; i < n; i++) {
        struct span span;
        if (find_unread(pages[i], data_sizes[i], &span) < 0) {
            *needed = i;
            return -1;
        }
        shares[i] = (struct ring_share){span.start, span.available, 0, 0};
        waiting += span.available;
    }
    if (waiting > size && share_out(pages, data_sizes, shares, n, size, needed) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const uint64_t taken = waiting > size ? shares[i].taken : shares[i].available;
        const struct span span = {(const char *)pages[i] + page_size(), data_sizes[i] - 1, shares[i].start, taken};
        if (taken == 0)
            continue;
        shares[i].taken = taken;
        copy_out(&span, to, (size_t)taken);
        to += taken;
        ring_set_tail(pages[i], span.start + taken);
    }
    return (long)(to - (char *)buffer);
}

long ring_snapshot_sized(const struct perf_event_mmap_page *page, uint64_t data_size, void *buffer, size_t size)
{
    struct span s, copy = {buffer, ~UINT64_C(0), 0, 0};
    uint64_t written;
    size_t next, done, intact;

    if (!is_ring_size(data_size))
        return fail(EINVAL);
    s.data = (const char *)page + page_size();
    s.mask = data_size - 1;
    s.start = ring_head(page);
    /* A ring that is written backward starts with data_head at 0, and each record lowers it: as a signed number it is
     * never above 0. The newest record begins at data_head. On 32-bit kernels data_head wraps after 4 GiB, so that its
     * sign proves nothing. */
    if ((sizeof(long) == sizeof s.start && (int64_t)s.start > 0) || s.start % 8)
        return fail(EINVAL);
    s.available = difference(0, s.start);
    if (s.available > data_size)
        s.available = data_size;
    done = whole_records(&s, size, &next);
    if (done == 0)
        return next ? fail(ENOBUFS) : 0;
    copy_out(&s, buffer, done);
    /* What the kernel wrote during the copy has overwritten the oldest records: leave those out. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    copy.available = done;
    written = s.start - ring_head(page);
    done = intact_size(&copy, data_size, written);
    /* The kernel may also be writing a record that data_head does not include yet. Assume that it is no larger than the
     * largest record of the copy, and leave out what it would overwrite, unless the kernel is seen not to write. */
    intact = intact_size(&copy, data_size, written + largest_record(&copy));
    if (intact == 0 || intact == done || (written == 0 && is_at_rest(page, s.start)))
        return (long)done;
    return (long)intact;
}

long ring_snapshot(const struct perf_event_mmap_page *page, void *buffer, size_t size)
{
    return ring_snapshot_sized(page, ring_data_size(page), buffer, size);
}

long ring_read_aux_sized(struct perf_event_mmap_page *page, const void *aux, uint64_t aux_size, void *buffer,
                         size_t size)
{
    /* The same barriers as for data_head and data_tail pair with perf_aux_output_end, which stores aux_head, and
     * perf_aux_output_begin, which loads aux_tail. aux_tail is a 64-bit position, never masked. */
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

long ring_read_aux(struct perf_event_mmap_page *page, const void *aux, void *buffer, size_t size)
{
    return ring_read_aux_sized(page, aux, *(const volatile uint64_t *)&page->aux_size, buffer, size);
}
