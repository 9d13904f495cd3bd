#define _GNU_SOURCE
#include "match.h"

#include <sys/mman.h>
#include <unistd.h>

INLINE size_t count(const void *buffer, size_t size, int all_records)
{
    struct perf_event_header header;
    size_t n = 0;

    for (size_t offset = 0; next_header(buffer, size, offset, &header) > 0; offset += header.size)
        n += all_records || header.type == PERF_RECORD_SAMPLE;
    return n;
}

size_t records_count(const void *buffer, size_t size)
{
    return count(buffer, size, 0);
}

size_t records_count_all(const void *buffer, size_t size)
{
    return count(buffer, size, 1);
}

void records_advise(struct perf_sample *out, size_t n)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t begin = ((uintptr_t)out + page - 1) & ~(page - 1);
    const uintptr_t end = ((uintptr_t)out + n * sizeof *out) & ~(page - 1);
    const size_t large = 4 * 1024 * 1024;

    if (n * sizeof *out >= large)
        madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}

/* How the sample_id_all trailers of records other than samples are decoded. */
struct trailers {
    const struct records_event *events;
    size_t n;
    size_t id_at;     /* byte offset of the id back from the record's end; 0 if records are not matched by id */
    uint64_t first;   /* the first event's sample_type */
    int are_there;    /* the first event's sample_id_all */
};

static int begin_trailers(struct trailers *t, const struct records_event *events, size_t n)
{
    *t = (struct trailers){events, n, 0, read_sample_type(events->attr), events->attr->sample_id_all};
    return t->are_there ? find_id(events, n, id_in_trailer, &t->id_at) : 0;
}

/* Make a row of a record that is no sample, from its header and its sample_id_all trailer. Record types of the perf
 * tool (64 and above) have no trailer. A trailer whose id is no event's, as the id 0 of records that the perf tool
 * synthesises, is decoded by the first event's sample_type. Returns 0; or -1 with EBADMSG. */
static int parse_other(const char *buffer, size_t offset, const struct perf_event_header *header,
                       const struct trailers *t, struct perf_sample *out)
{
    uint64_t type = t->first;

    begin_row(offset, header, out);
    if (!record_is_sound(buffer + offset, header))
        return fail(EBADMSG);
    if (header->type >= FIRST_USER_TYPE || !t->are_there)
        return 0;
    if (header->size < sizeof *header + t->id_at)
        return fail(EBADMSG);
    if (t->id_at) {
        const struct perf_event_attr *attr = find_attr(t->events, t->n, buffer + offset + header->size - t->id_at);
        if (attr)
            type = read_sample_type(attr);
    }
    return parse_trailer(buffer, offset, header, type, out);
}

/* The loop of records_parse, for which `trailers` is NULL, and of records_parse_all. */
INLINE long parse_rows(const void *buffer, size_t size, struct current *current, const struct trailers *trailers,
                       struct perf_sample *out, size_t n, size_t *consumed, size_t *done)
{
    struct perf_event_header header;
    size_t offset = 0, filled = 0;
    int found, parsed;

    while ((found = next_header(buffer, size, offset, &header)) > 0) {
        const int is_sample = header.type == PERF_RECORD_SAMPLE;
        if (is_sample || trailers) {
            if (filled == n)
                break;
            if (!is_sample)
                parsed = parse_other(buffer, offset, &header, trailers, out + filled);
            else if (current->id_at && select_event(current, (const char *)buffer + offset, header.size) < 0)
                parsed = -1;
            else
                parsed = parse_sample(buffer, offset, &header, &current->layout, out + filled);
            if (parsed < 0) {
                found = -1;
                break;
            }
            filled++;
        }
        offset += header.size;
    }
    *consumed = offset;
    *done = filled;
    return found < 0 ? -1 : (long)filled;
}

long records_parse(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                   struct perf_sample *out, size_t n, size_t *consumed, size_t *done)
{
    struct current current;

    *consumed = *done = 0;
    if (begin_events(&current, events, n_events, size) < 0)
        return -1;
    return parse_rows(buffer, size, &current, NULL, out, n, consumed, done);
}

long records_parse_all(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                       struct perf_sample *out, size_t n, size_t *consumed, size_t *done)
{
    struct current current;
    struct trailers trailers;

    *consumed = *done = 0;
    if (begin_events(&current, events, n_events, size) < 0 || begin_trailers(&trailers, events, n_events) < 0)
        return -1;
    return parse_rows(buffer, size, &current, &trailers, out, n, consumed, done);
}

int records_sample_id(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                      struct perf_sample *out)
{
    struct perf_event_header header;
    const struct perf_event_attr *attr;
    size_t id_at;

    if (find_id(events, n_events, id_in_trailer, &id_at) < 0)
        return -1;
    if (next_header(buffer, size, 0, &header) <= 0)
        return fail(EBADMSG);
    if (header.size < sizeof header + id_at)
        return fail(EBADMSG);
    attr = id_at ? find_attr(events, n_events, (const char *)buffer + header.size - id_at) : events->attr;
    if (!attr)
        return -1;
    begin_row(0, &header, out);
    return parse_trailer(buffer, 0, &header, read_sample_type(attr), out);
}
