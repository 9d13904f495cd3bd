#define _GNU_SOURCE
#include "ring.h"

#include "span.h"

/* What is left of ring i after what was granted so far. */
static struct span rest_of(struct perf_event_mmap_page *const *pages, const uint64_t *data_sizes,
                           const struct ring_share *shares, size_t i)
{
    const struct ring_share *s = shares + i;
    return (struct span){(const char *)pages[i] + page_size(), data_sizes[i] - 1, s->start + s->taken,
                         s->available - s->taken};
}

/* Grant next records where equal shares of the buffer do not hold them: to each ring whose next record is larger than a
 * share; what is left for the shares of the others shrinks by it, so that more rings may have to be looked at. */
static void grant_large(struct ring_share *shares, size_t n, size_t *left)
{
    size_t waiting = 0, before;

    for (size_t i = 0; i < n; i++)
        waiting += shares[i].available != 0;
    do {
        before = waiting;
        for (size_t i = 0; i < n; i++) {
            struct ring_share *s = shares + i;
            if (s->taken || s->available == 0 || s->next <= *left / waiting)
                continue;
            s->taken = s->next;
            *left -= (size_t)s->next;
            waiting--;
        }
    } while (waiting && waiting < before);
}

/* Grant next records where the buffer does not hold those of all rings: the ring of which least has been consumed so far
 * comes first, so that no ring waits for ever. */
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

/* Grant whole rings: of those that were granted nothing yet, each that has no more than an equal share of the room, which
 * enlarges the shares of the others, and so on. Returns how many are left, and must be cut to a share each. */
static size_t grant_whole(struct ring_share *shares, size_t n, size_t *left)
{
    size_t waiting = 0, before;

    for (size_t i = 0; i < n; i++)
        waiting += shares[i].taken == 0 && shares[i].available != 0;
    do {
        before = waiting;
        for (size_t i = 0; i < n; i++) {
            struct ring_share *s = shares + i;
            if (s->taken || s->available == 0 || s->available > *left / waiting)
                continue;
            s->taken = s->available;
            *left -= (size_t)s->available;
            waiting--;
        }
    } while (waiting && waiting < before);
    return waiting;
}

/* Of the ring that has most left, take as many more records as fit; 0 if no ring has a record that fits. */
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
        span = rest_of(pages, data_sizes, shares, i);
    }
    if (!most)
        return 0;
    more = whole_records(&span, *left, &next);
    most->taken += more;
    most->is_done = 1; /* what comes next in it is larger than what is left */
    *left -= more;
    return 1;
}

/* Decide how many of the waiting bytes of each ring go into `size` bytes, which do not hold all. 0, or -1 as ring_drain. */
static int share_out(struct perf_event_mmap_page *const *pages, const uint64_t *data_sizes, struct ring_share *shares,
                     size_t n, size_t size, size_t *needed)
{
    size_t left = size, smallest = SIZE_MAX, total = 0, cut, share, next;

    for (size_t i = 0; i < n; i++) {
        const struct span span = rest_of(pages, data_sizes, shares, i);
        shares[i].next = span.available ? record_size(&span, 0) : 0;
        total += (size_t)shares[i].next;
        if (shares[i].next && shares[i].next < smallest)
            smallest = (size_t)shares[i].next;
    }
    (total <= size ? grant_large : grant_in_turn)(shares, n, &left);
    cut = grant_whole(shares, n, &left);
    share = cut ? left / cut : 0;
    for (size_t i = 0; i < n; i++) {
        const struct span span = rest_of(pages, data_sizes, shares, i);
        if (span.available == 0)
            continue;
        if (shares[i].next == 0) { /* the header of a ring that must be cut cannot be one */
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
        shares[i] = (struct ring_share){span.start, span.available, 0, 0, 0};
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
