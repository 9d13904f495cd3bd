#define _GNU_SOURCE
#include "span.h"

/* Up to `available` bytes of a ring from position `start` on. */
static struct span span_of(const struct perf_event_mmap_page *page, uint64_t data_size, uint64_t start,
                           uint64_t available)
{
    return (struct span){(const char *)page + page_size(), data_size - 1, start, available};
}

/* What waits in a ring behind the bytes that are taken of it so far. */
static struct span rest_of(const struct perf_event_mmap_page *page, uint64_t data_size, const struct ring_share *s)
{
    return span_of(page, data_size, s->start + s->taken, s->available - s->taken);
}

/* Grant parts of the buffer to rings of which nothing is taken yet. If `whole` is 1, each ring claims all that waits in
 * it, and is granted that if it is no more than an equal share of the `*left` bytes of the buffer. If `whole` is 0, each
 * ring claims its next record, and is granted that if it is more than such a share. A grant changes the share of the
 * rings that remain, so the loop goes over these again until it grants nothing. Returns how many rings remain. */
static size_t grant(struct ring_share *shares, size_t n, size_t *left, int whole)
{
    size_t remaining = 0, before;

    for (size_t i = 0; i < n; i++)
        remaining += shares[i].taken == 0 && shares[i].available != 0;
    do {
        before = remaining;
        for (size_t i = 0; i < n; i++) {
            struct ring_share *s = shares + i;
            const uint64_t claim = whole ? s->available : s->next;
            if (s->taken || s->available == 0 || (claim <= *left / remaining) != whole)
                continue;
            s->taken = claim;
            *left -= (size_t)claim;
            remaining--;
        }
    } while (remaining < before);
    return remaining;
}

/* Grant next records, as many as fit, for a buffer that does not hold those of all rings: the ring of which least has
 * been consumed so far (the one with the lowest data_tail) comes first, so that no ring waits for ever. */
static void grant_in_turn(struct ring_share *shares, size_t n, size_t *left)
{
    for (;;) {
        struct ring_share *first = NULL;
        for (size_t i = 0; i < n; i++) {
            struct ring_share *s = shares + i;
            if (s->taken || s->next == 0 || s->next > *left)
                continue;
            if (!first || s->start < first->start || (s->start == first->start && s->available > first->available))
                first = s;
        }
        if (!first)
            return;
        first->taken = first->next;
        *left -= (size_t)first->next;
    }
}

/* Of the ring that has most bytes left, take as many more records as fit. Returns 0 if all rings are done, else 1. */
static int grant_rest(struct perf_event_mmap_page *const *pages, const uint64_t *data_sizes, struct ring_share *shares,
                      size_t n, size_t *left)
{
    struct ring_share *most = NULL;
    struct span span;
    size_t next, more;

    for (size_t i = 0; i < n; i++) {
        struct ring_share *s = shares + i;
        if (s->is_done || s->available == s->taken || (most && s->available - s->taken <= most->available - most->taken))
            continue;
        most = s;
    }
    if (!most)
        return 0;
    span = rest_of(pages[most - shares], data_sizes[most - shares], most);
    more = whole_records(&span, *left, &next);
    most->taken += more;
    most->is_done = 1; /* what comes next in it is larger than what is left */
    *left -= more;
    return 1;
}

/* Decide how many of the waiting bytes of each ring are taken, for a buffer whose `size` bytes do not hold all of them.
 * Returns 0; or -1, with errno and `*needed` as ring_drain. */
static int share_out(struct perf_event_mmap_page *const *pages, const uint64_t *data_sizes, struct ring_share *shares,
                     size_t n, size_t size, size_t *needed)
{
    size_t left = size, smallest = SIZE_MAX, total = 0, cut, share, next;

    for (size_t i = 0; i < n; i++) {
        const struct span span = span_of(pages[i], data_sizes[i], shares[i].start, shares[i].available);
        shares[i].taken = 0;
        shares[i].next = record_size(&span, 0);
        total += (size_t)shares[i].next;
        if (shares[i].next && shares[i].next < smallest)
            smallest = (size_t)shares[i].next;
    }
    if (total <= size)
        grant(shares, n, &left, 0);
    else
        grant_in_turn(shares, n, &left);
    cut = grant(shares, n, &left, 1);
    share = cut ? left / cut : 0;
    for (size_t i = 0; i < n; i++) {
        const struct span span = rest_of(pages[i], data_sizes[i], shares + i);
        if (span.available == 0)
            continue;
        if (shares[i].next == 0) { /* not all of the ring fits, and the header of its next record is corrupt */
            *needed = i;
            return fail(EBADMSG);
        }
        if (shares[i].taken == 0) {
            shares[i].taken = whole_records(&span, share, &next);
            left -= (size_t)shares[i].taken;
        }
    }
    if (left == size) {
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
        shares[i] = (struct ring_share){span.start, span.available, span.available, 0, 0};
        waiting += span.available;
    }
    if (waiting > size && share_out(pages, data_sizes, shares, n, size, needed) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const struct ring_share *s = shares + i;
        const struct span span = span_of(pages[i], data_sizes[i], s->start, s->taken);
        if (s->taken == 0)
            continue;
        copy_out(&span, to, (size_t)s->taken);
        to += s->taken;
        ring_set_tail(pages[i], s->start + s->taken);
    }
    return (long)(to - (char *)buffer);
}
