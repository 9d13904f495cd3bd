/* Find the event that a record belongs to, by the id in the record. Used in the loops over many records. Not installed,
 * not read by cffi. */
#pragma once
#include "decode.h"

/* Byte offset of the id from the start of a sample of this sample_type; 0 if such samples have no id. */
static inline size_t id_in_sample(uint64_t type)
{
    const size_t before = type & PERF_SAMPLE_IDENTIFIER ? 0 : count_words(type, BEFORE_ID);
    return type & ANY_ID ? sizeof(struct perf_event_header) + 8 * before : 0;
}

/* Byte offset of the id in a sample_id_all trailer of this sample_type, counted back from the record's end; 0 if such
 * trailers have no id. */
static inline size_t id_in_trailer(uint64_t type)
{
    const size_t after = type & PERF_SAMPLE_IDENTIFIER ? 0 : count_words(type, AFTER_ID);
    return type & ANY_ID ? 8 * (after + 1) : 0;
}

/* True if records are matched by their id. A single event that is given with id 0 matches every record. */
static inline int by_id(const struct records_event *events, size_t n)
{
    return n > 1 || events->id != 0;
}

/* Check that the records of all events have their id at the same place, so that it can be read before the event is
 * known. `offset_of_id` is id_in_sample or id_in_trailer. Returns 0, with the common offset in `*at`, which is 0 if
 * records are not matched by id; or -1 with EINVAL. */
static inline int find_id(const struct records_event *events, size_t n, size_t (*offset_of_id)(uint64_t), size_t *at)
{
    if (n == 0)
        return fail(EINVAL);
    *at = 0;
    if (!by_id(events, n))
        return 0;
    *at = offset_of_id(events->attr->sample_type);
    for (size_t i = 0; i < n; i++)
        if (*at == 0 || offset_of_id(events[i].attr->sample_type) != *at)
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

/* The event of the sample that was decoded last. Most samples are of the same event as the one before them: its layout
 * need not be found again. */
struct current {
    const struct records_event *events;
    size_t n;
    size_t id_at; /* the byte offset of the id in a sample, 0 where records are not matched by id */
    const struct perf_event_attr *attr;
    struct layout layout;
};

/* Prepare to decode a buffer of `size` bytes, at most UINT32_MAX: offsets in struct perf_sample have 32 bits. */
static inline int begin_events(struct current *c, const struct records_event *events, size_t n, size_t size)
{
    c->events = events;
    c->n = n;
    if (find_id(events, n, id_in_sample, &c->id_at) < 0)
        return -1;
    c->attr = events->attr;
    c->layout = layout_of(c->attr);
    return size > UINT32_MAX ? fail(EINVAL) : 0;
}

/* Make the event of the sample at `record` the current one. Returns 0; or -1 with ENOENT if no event has the sample's
 * id, EBADMSG if the sample is too short to have one. */
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
