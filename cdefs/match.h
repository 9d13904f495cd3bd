/* Which event a record is of, by the id in it: for the loops over many records. Not installed, not read by cffi. */
#pragma once
#include "decode.h"

/* Byte offset of the id from the begin of a sample of this type, 0 if it has none. */
static inline size_t id_in_sample(uint64_t type)
{
    const size_t before = type & PERF_SAMPLE_IDENTIFIER ? 0 : count_words(type, BEFORE_ID);
    return type & ANY_ID ? sizeof(struct perf_event_header) + 8 * before : 0;
}

/* Byte offset of the id of a trailer, back from the record's end, 0 if it has none. */
static inline size_t id_in_trailer(uint64_t type)
{
    const size_t after = type & PERF_SAMPLE_IDENTIFIER ? 0 : count_words(type, AFTER_ID);
    return type & ANY_ID ? 8 * (after + 1) : 0;
}

/* True if records are matched by their id. A single entry with id 0 matches every record. */
static inline int by_id(const struct records_event *events, size_t n)
{
    return n > 1 || events->id != 0;
}

/* Check that all events have their id at the same place, so that it can be read before the event is known. Returns that
 * place in `*at`, 0 where records are not matched by id. */
static inline int find_id(const struct records_event *events, size_t n, size_t (*place)(uint64_t), size_t *at)
{
    if (n == 0)
        return fail(EINVAL);
    *at = 0;
    if (!by_id(events, n))
        return 0;
    *at = place(events->attr->sample_type);
    for (size_t i = 0; i < n; i++)
        if (*at == 0 || place(events[i].attr->sample_type) != *at)
            return fail(EINVAL);
    return 0;
}

static inline const struct perf_event_attr *find_attr(const struct records_event *events, size_t n, const char *id_at)
{
    const uint64_t id = next_word(&id_at);

    while (n > 0) {
        const size_t half = n / 2;
        if (events[half].id == id)
            return events[half].attr;
        if (events[half].id < id) {
            events += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    errno = ENOENT;
    return NULL;
}

/* The event of the records that are being decoded. Most records are of the same event as the one before them. */
struct current {
    const struct records_event *events;
    size_t n;
    size_t id_at; /* the byte offset of the id in a sample, 0 where records are not matched by id */
    const struct perf_event_attr *attr;
    struct layout layout;
};

static inline int begin_events(struct current *c, const struct records_event *events, size_t n)
{
    c->events = events;
    c->n = n;
    if (find_id(events, n, id_in_sample, &c->id_at) < 0)
        return -1;
    c->attr = events->attr;
    c->layout = layout_of(c->attr);
    return 0;
}

/* Find the event of the sample at `record`: 0, or -1 with ENOENT, or EBADMSG where the sample is too short for an id. */
static inline int select_event(struct current *c, const char *record, size_t size)
{
    const struct perf_event_attr *attr;

    if (size < c->id_at + sizeof(uint64_t))
        return fail(EBADMSG);
    attr = find_attr(c->events, c->n, record + c->id_at);
    if (!attr)
        return -1;
    if (attr != c->attr) {
        c->attr = attr;
        c->layout = layout_of(attr);
    }
    return 0;
}
