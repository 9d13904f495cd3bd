#include "records.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* What is left of a record. A read beyond it sets `bad` and gives 0, so that bounds are checked in one place. */
struct cursor {
    const char *base;
    size_t at;
    size_t end;
    int bad;
};

static int failed(int error)
{
    errno = error;
    return -1;
}

static size_t left(const struct cursor *c)
{
    return c->end - c->at;
}

static uint64_t take(struct cursor *c)
{
    uint64_t value;

    if (left(c) < sizeof value) {
        c->bad = 1;
        return 0;
    }
    memcpy(&value, c->base + c->at, sizeof value);
    c->at += sizeof value;
    return value;
}

static void take_pair(struct cursor *c, uint32_t *first, uint32_t *second)
{
    uint32_t pair[2] = {0, 0};

    if (left(c) < sizeof pair) {
        c->bad = 1;
        return;
    }
    memcpy(pair, c->base + c->at, sizeof pair);
    c->at += sizeof pair;
    *first = pair[0];
    *second = pair[1];
}

/* Pass over `count` elements; give where the first is. Offsets fit 32 bits: records_parse takes no larger buffer. */
static uint32_t skip(struct cursor *c, uint64_t count, size_t element)
{
    const size_t at = c->at;

    if (count > left(c) / element) {
        c->bad = 1;
        return 0;
    }
    c->at += (size_t)count * element;
    return (uint32_t)at;
}

/* --- Any record ---------------------------------------------------------------------------------------------------- */

static const unsigned char body_size[PERF_RECORD_MAX] = {
#define BODY(TYPE, name) [PERF_RECORD_##TYPE] = sizeof(struct perf_record_##name)
    BODY(MMAP, mmap),
    BODY(LOST, lost),
    BODY(COMM, comm),
    BODY(EXIT, exit),
    BODY(THROTTLE, throttle),
    BODY(UNTHROTTLE, unthrottle),
    BODY(FORK, fork),
    BODY(READ, read),
    BODY(SAMPLE, sample),
    BODY(MMAP2, mmap2),
    BODY(AUX, aux),
    BODY(ITRACE_START, itrace_start),
    BODY(LOST_SAMPLES, lost_samples),
    BODY(SWITCH, switch),
    BODY(SWITCH_CPU_WIDE, switch_cpu_wide),
    BODY(NAMESPACES, namespaces),
    BODY(KSYMBOL, ksymbol),
    BODY(BPF_EVENT, bpf_event),
    BODY(CGROUP, cgroup),
    BODY(TEXT_POKE, text_poke),
    BODY(AUX_OUTPUT_HW_ID, aux_output_hw_id),
    BODY(CALLCHAIN_DEFERRED, callchain_deferred),
#undef BODY
};

/* Whether the counts and lengths inside the record stay inside it. */
static int is_sound(const char *record, const struct perf_event_header *header)
{
    size_t rest;

    if (header->type >= PERF_RECORD_MAX)
        return 1;
    if (header->size < body_size[header->type])
        return 0;
    rest = header->size - body_size[header->type];
    if (header->type == PERF_RECORD_MMAP2 && header->misc & PERF_RECORD_MISC_MMAP_BUILD_ID) {
        struct perf_record_mmap2 body;
        memcpy(&body, record, sizeof body);
        return body.build_id_size <= sizeof body.build_id;
    }
    if (header->type == PERF_RECORD_NAMESPACES) {
        struct perf_record_namespaces body;
        memcpy(&body, record, sizeof body);
        return body.nr_namespaces <= rest / sizeof(struct perf_ns_link_info);
    }
    if (header->type == PERF_RECORD_TEXT_POKE) {
        struct perf_record_text_poke body;
        memcpy(&body, record, sizeof body);
        /* The bytes begin in what pads the struct. */
        return (size_t)body.old_len + body.new_len <= header->size - offsetof(struct perf_record_text_poke, bytes);
    }
    if (header->type == PERF_RECORD_CALLCHAIN_DEFERRED) {
        struct perf_record_callchain_deferred body;
        memcpy(&body, record, sizeof body);
        return body.nr <= rest / sizeof(uint64_t);
    }
    return 1;
}

/* Read the header at `offset`; 1, or 0 at the end, or -1. */
static int next_header(const char *buffer, size_t size, size_t offset, struct perf_event_header *header)
{
    if (offset == size)
        return 0;
    if (offset > size || size - offset < sizeof *header)
        return failed(EBADMSG);
    memcpy(header, buffer + offset, sizeof *header);
    if (header->size < sizeof *header || header->size % 8 || header->size > size - offset)
        return failed(EBADMSG);
    return 1;
}

long records_next(const void *buffer, size_t size, size_t offset)
{
    struct perf_event_header header;
    const int found = next_header(buffer, size, offset, &header);

    if (found <= 0)
        return found;
    return is_sound((const char *)buffer + offset, &header) ? header.size : failed(EBADMSG);
}

size_t records_count(const void *buffer, size_t size)
{
    struct perf_event_header header;
    size_t n = 0;

    for (size_t offset = 0; next_header(buffer, size, offset, &header) > 0; offset += header.size)
        n += header.type == PERF_RECORD_SAMPLE;
    return n;
}

/* --- Samples ------------------------------------------------------------------------------------------------------- */

static void take_read(struct cursor *c, const struct perf_event_attr *attr, struct perf_sample *out)
{
    const uint64_t format = attr->read_format;
    const size_t times = (format & PERF_FORMAT_TOTAL_TIME_ENABLED ? 1u : 0u) +
                         (format & PERF_FORMAT_TOTAL_TIME_RUNNING ? 1u : 0u);
    const size_t member = 1u + (format & PERF_FORMAT_ID ? 1u : 0u) + (format & PERF_FORMAT_LOST ? 1u : 0u);
    uint64_t nr = 1;

    out->read_format = (uint32_t)format;
    out->read_offset = (uint32_t)c->at;
    if (format & PERF_FORMAT_GROUP)
        nr = take(c);
    skip(c, times, sizeof(uint64_t));
    skip(c, nr, member * sizeof(uint64_t));
    out->read_count = (uint32_t)nr;
}

static void take_raw(struct cursor *c, struct perf_sample *out)
{
    uint32_t size;

    if (left(c) < sizeof size) {
        c->bad = 1;
        return;
    }
    memcpy(&size, c->base + c->at, sizeof size);
    c->at += sizeof size;
    out->raw_count = size;
    out->raw_offset = skip(c, size, 1);
    /* The kernel pads so that length and data fill whole words (perf_prepare_sample). */
    skip(c, (8 - (sizeof size + size) % 8) % 8, 1);
}

static void take_branches(struct cursor *c, const struct perf_event_attr *attr, int hw_idx, struct perf_sample *out)
{
    const uint64_t nr = take(c);

    if (hw_idx && attr->branch_sample_type & PERF_SAMPLE_BRANCH_HW_INDEX)
        out->branch_hw_idx = take(c);
    out->branch_offset = skip(c, nr, sizeof(struct perf_branch_entry));
    out->branch_count = (uint32_t)nr;
    if (attr->branch_sample_type & PERF_SAMPLE_BRANCH_COUNTERS)
        out->branch_counters_offset = skip(c, nr, sizeof(uint64_t));
}

static uint16_t take_regs(struct cursor *c, uint64_t mask, uint32_t *count, uint32_t *offset)
{
    const uint64_t abi = take(c);

    if (abi == PERF_SAMPLE_REGS_ABI_NONE)
        return 0;
    if (abi > UINT16_MAX)
        c->bad = 1;
    *count = (uint32_t)__builtin_popcountll(mask);
    *offset = skip(c, *count, sizeof(uint64_t));
    return (uint16_t)abi;
}

static void take_stack(struct cursor *c, struct perf_sample *out)
{
    const uint64_t size = take(c);
    uint64_t filled;

    if (size == 0)
        return;
    out->user_stack_offset = skip(c, size, 1);
    filled = take(c);
    if (filled > size)
        c->bad = 1;
    out->user_stack_count = (uint32_t)filled;
}

/* Decode in the order of the kernel's perf_output_sample. Whether all of the record was used is the caller's to see. */
static void take_sample(struct cursor *c, const struct perf_event_attr *attr, int hw_idx, struct perf_sample *out)
{
    const uint64_t type = attr->sample_type;
    uint32_t reserved;

    if (type & PERF_SAMPLE_IDENTIFIER)
        out->id = take(c);
    if (type & PERF_SAMPLE_IP)
        out->ip = take(c);
    if (type & PERF_SAMPLE_TID)
        take_pair(c, &out->pid, &out->tid);
    if (type & PERF_SAMPLE_TIME)
        out->time = take(c);
    if (type & PERF_SAMPLE_ADDR)
        out->addr = take(c);
    if (type & PERF_SAMPLE_ID)
        out->id = take(c);
    if (type & PERF_SAMPLE_STREAM_ID)
        out->stream_id = take(c);
    if (type & PERF_SAMPLE_CPU)
        take_pair(c, &out->cpu, &reserved);
    if (type & PERF_SAMPLE_PERIOD)
        out->period = take(c);
    if (type & PERF_SAMPLE_READ)
        take_read(c, attr, out);
    if (type & PERF_SAMPLE_CALLCHAIN) {
        const uint64_t nr = take(c);
        out->callchain_offset = skip(c, nr, sizeof(uint64_t));
        out->callchain_count = (uint32_t)nr;
    }
    if (type < PERF_SAMPLE_RAW)
        return;
    if (type & PERF_SAMPLE_RAW)
        take_raw(c, out);
    if (type & PERF_SAMPLE_BRANCH_STACK)
        take_branches(c, attr, hw_idx, out);
    if (type & PERF_SAMPLE_REGS_USER)
        out->user_regs_abi = take_regs(c, attr->sample_regs_user, &out->user_regs_count, &out->user_regs_offset);
    if (type & PERF_SAMPLE_STACK_USER)
        take_stack(c, out);
    if (type & PERF_SAMPLE_WEIGHT_TYPE)
        out->weight = take(c);
    if (type & PERF_SAMPLE_DATA_SRC)
        out->data_src = take(c);
    if (type & PERF_SAMPLE_TRANSACTION)
        out->transaction = take(c);
    if (type & PERF_SAMPLE_REGS_INTR)
        out->intr_regs_abi = take_regs(c, attr->sample_regs_intr, &out->intr_regs_count, &out->intr_regs_offset);
    if (type & PERF_SAMPLE_PHYS_ADDR)
        out->phys_addr = take(c);
    if (type & PERF_SAMPLE_CGROUP)
        out->cgroup = take(c);
    if (type & PERF_SAMPLE_DATA_PAGE_SIZE)
        out->data_page_size = take(c);
    if (type & PERF_SAMPLE_CODE_PAGE_SIZE)
        out->code_page_size = take(c);
    if (type & PERF_SAMPLE_AUX) {
        const uint64_t size = take(c);
        out->aux_offset = skip(c, size, 1);
        out->aux_count = (uint32_t)size;
        skip(c, (8 - size % 8) % 8, 1);
    }
}

/* Where the id is: from the record's begin in a sample, from its end in a trailer; 0 if it has none. */
static size_t id_in_sample(uint64_t type)
{
    const uint64_t before = PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR;
    const size_t words = type & PERF_SAMPLE_IDENTIFIER ? 0 : (size_t)__builtin_popcountll(type & before);

    return type & (PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_ID) ? sizeof(struct perf_event_header) + 8 * words : 0;
}

static size_t id_in_trailer(uint64_t type)
{
    const uint64_t behind = PERF_SAMPLE_STREAM_ID | PERF_SAMPLE_CPU;
    const size_t words = type & PERF_SAMPLE_IDENTIFIER ? 0 : (size_t)__builtin_popcountll(type & behind);

    return type & (PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_ID) ? 8 * (words + 1) : 0;
}

static size_t trailer_size(uint64_t type)
{
    return 8 * (size_t)__builtin_popcountll(type & (PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ID |
                                                    PERF_SAMPLE_STREAM_ID | PERF_SAMPLE_CPU | PERF_SAMPLE_IDENTIFIER));
}

/* A lone event without an id stands for all records. */
static int by_id(const struct records_event *events, size_t n)
{
    return n > 1 || events->id != 0;
}

/* Check that each event has its id where the first has it, so that it can be read before the event is known. */
static int ids_agree(const struct records_event *events, size_t n, size_t (*place)(uint64_t))
{
    if (n == 0)
        return failed(EINVAL);
    for (size_t i = 0; by_id(events, n) && i < n; i++)
        if (!place(events[i].attr->sample_type) ||
            place(events[i].attr->sample_type) != place(events[0].attr->sample_type))
            return failed(EINVAL);
    return 0;
}

static const struct records_event *find(const struct records_event *events, size_t n, const char *id_at)
{
    uint64_t id;

    memcpy(&id, id_at, sizeof id);
    while (n > 0) {
        const size_t half = n / 2;
        if (events[half].id == id)
            return &events[half];
        if (events[half].id < id) {
            events += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return NULL;
}

/* Decode the sample at `offset`; 0, or -1. */
static int parse_one(const char *buffer, size_t offset, const struct perf_event_header *header,
                     const struct records_event *events, size_t n_events, size_t id_place, struct perf_sample *out)
{
    struct cursor c = {buffer, offset + sizeof *header, offset + header->size, 0};

    if (by_id(events, n_events)) {
        if (header->size < id_place + sizeof(uint64_t))
            return failed(EBADMSG);
        events = find(events, n_events, buffer + offset + id_place);
        if (!events)
            return failed(ENOENT);
    }
    memset(out, 0, sizeof *out);
    out->offset = (uint32_t)offset;
    out->size = header->size;
    out->misc = header->misc;
    take_sample(&c, events->attr, 1, out);
    if (!c.bad && c.at == c.end)
        return 0;
    /* Where the CPU gave no branch stack at all, the kernel leaves hw_idx out too: the record's length tells. */
    if (events->attr->sample_type & PERF_SAMPLE_BRANCH_STACK && out->branch_count == 0) {
        c = (struct cursor){buffer, offset + sizeof *header, offset + header->size, 0};
        out->branch_hw_idx = 0;
        take_sample(&c, events->attr, 0, out);
        if (!c.bad && c.at == c.end)
            return 0;
    }
    return failed(EBADMSG);
}

long records_parse(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                   struct perf_sample *out, size_t n, size_t *consumed, size_t *done)
{
    struct perf_event_header header;
    size_t offset = 0, filled = 0, id_place;
    int found;

    *consumed = *done = 0;
    if (ids_agree(events, n_events, id_in_sample) < 0)
        return -1;
    id_place = id_in_sample(events->attr->sample_type);
    if (size > UINT32_MAX)
        return failed(EINVAL);
    while ((found = next_header(buffer, size, offset, &header)) > 0) {
        if (header.type == PERF_RECORD_SAMPLE) {
            if (filled == n)
                break;
            if (parse_one(buffer, offset, &header, events, n_events, id_place, out + filled) < 0) {
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

int records_sample_id(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                      struct perf_sample *out)
{
    struct perf_event_header header;
    struct cursor c = {buffer, 0, 0, 0};
    uint64_t type, ids;
    uint32_t reserved;
    size_t trailer;

    if (ids_agree(events, n_events, id_in_trailer) < 0 || next_header(buffer, size, 0, &header) < 0)
        return -1;
    if (size == 0)
        return failed(EBADMSG);
    if (by_id(events, n_events)) {
        const size_t place = id_in_trailer(events->attr->sample_type);
        if (header.size < sizeof header + place)
            return failed(EBADMSG);
        events = find(events, n_events, (const char *)buffer + header.size - place);
        if (!events)
            return failed(ENOENT);
    }
    type = events->attr->sample_type;
    trailer = trailer_size(type);
    if (trailer > header.size - sizeof header)
        return failed(EBADMSG);
    c.at = header.size - trailer;
    c.end = header.size;
    memset(out, 0, sizeof *out);
    out->size = header.size;
    out->misc = header.misc;
    if (type & PERF_SAMPLE_TID)
        take_pair(&c, &out->pid, &out->tid);
    if (type & PERF_SAMPLE_TIME)
        out->time = take(&c);
    ids = type & PERF_SAMPLE_ID ? take(&c) : 0;
    if (type & PERF_SAMPLE_STREAM_ID)
        out->stream_id = take(&c);
    if (type & PERF_SAMPLE_CPU)
        take_pair(&c, &out->cpu, &reserved);
    out->id = type & PERF_SAMPLE_IDENTIFIER ? take(&c) : ids;
    return 0;
}
