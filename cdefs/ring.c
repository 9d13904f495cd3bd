#define _GNU_SOURCE
#include "span.h"

#include <sys/mman.h>

void *ring_map(int fd, size_t size, uint64_t offset, int writable)
{
    void *address = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, (off_t)offset);
    return address == MAP_FAILED ? NULL : address;
}

int ring_unmap(void *address, size_t size)
{
    return munmap(address, size);
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

uint64_t ring_data_size(const struct perf_event_mmap_page *page)
{
    const uint64_t offset = *(const volatile uint64_t *)&page->data_offset;
    const uint64_t size = *(const volatile uint64_t *)&page->data_size;
    return offset == page_size() && is_ring_size(size) ? size : 0;
}

/* The size of the largest of the records that fill the span. */
static size_t largest_record(const struct span *s)
{
    size_t size, largest = 0;

    for (uint64_t done = 0; (size = record_size(s, done)) != 0; done += size)
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
