#define _GNU_SOURCE
#include "records.h"

#include "counters.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* In the loop over samples: inlined, the record's size stays in a register and no division is left of skip(). */
#define INLINE static inline __attribute__((always_inline))

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

INLINE size_t left(const struct cursor *c)
{
    return c->end - c->at;
}

INLINE uint64_t take(struct cursor *c)
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

/* Pass over `count` elements; give where the first is. Offsets fit 32 bits: records_parse takes no larger buffer. */
INLINE uint32_t skip(struct cursor *c, uint64_t count, size_t element)
{
    const size_t at = c->at;

    if (count > left(c) / element) {
        c->bad = 1;
        return 0;
    }
    c->at += (size_t)count * element;
    return (uint32_t)at;
}

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
INLINE int next_header(const char *buffer, size_t size, size_t offset, struct perf_event_header *header)
{
    if (offset == size)
        return 0;
    if (offset > size || size - offset < sizeof *header)
        return failed(EBADMSG);
    /* Field by field: as a whole it would go over the stack. */
    memcpy(&header->type, buffer + offset, sizeof header->type);
    memcpy(&header->misc, buffer + offset + offsetof(struct perf_event_header, misc), sizeof header->misc);
    memcpy(&header->size, buffer + offset + offsetof(struct perf_event_header, size), sizeof header->size);
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

static void take_read(struct cursor *c, const struct perf_event_attr *attr, struct perf_sample *out)
{
    const uint64_t format = attr->read_format;
    const size_t member = counters_size(format, 1) - counters_size(format, 0);
    uint64_t nr = 1;

    out->read_format = (uint32_t)format;
    out->read_offset = (uint32_t)c->at;
    if (format & PERF_FORMAT_GROUP)
        nr = take(c);
    skip(c, counters_size(format & ~(uint64_t)PERF_FORMAT_GROUP, 0), 1);
    skip(c, nr, member);
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

/* The fields from RAW on, which few events ask for. */
static void take_rest(struct cursor *c, const struct perf_event_attr *attr, int hw_idx, struct perf_sample *out)
{
    const uint64_t type = attr->sample_type;

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

/* Words whose length the caller has checked. */
static uint64_t word(const char **at)
{
    uint64_t value;

    memcpy(&value, *at, sizeof value);
    *at += sizeof value;
    return value;
}

/* Two 32-bit values, the first at the lower address. */
static void pair(const char **at, uint32_t *first, uint32_t *second)
{
    memcpy(first, *at, sizeof *first);
    memcpy(second, *at + sizeof *first, sizeof *second);
    *at += 2 * sizeof *first;
}

static size_t words(uint64_t type, uint64_t of)
{
    return (size_t)__builtin_popcountll(type & of);
}

/* Decode buffer[begin .. end) in the order of the kernel's perf_output_sample, `fixed` being the size of what comes
 * before READ. Returns 0 if that does not use the record up exactly. */
INLINE int take_sample(const char *buffer, size_t begin, size_t end, const struct perf_event_attr *attr, size_t fixed,
                       int hw_idx, struct perf_sample *out)
{
    const uint64_t type = attr->sample_type;
    const char *at = buffer + begin;
    size_t next = begin + fixed;
    uint32_t reserved;

    if (end - begin < fixed)
        return 0;
    if (type & PERF_SAMPLE_IDENTIFIER)
        out->id = word(&at);
    if (type & PERF_SAMPLE_IP)
        out->ip = word(&at);
    if (type & PERF_SAMPLE_TID)
        pair(&at, &out->pid, &out->tid);
    if (type & PERF_SAMPLE_TIME)
        out->time = word(&at);
    if (type & PERF_SAMPLE_ADDR)
        out->addr = word(&at);
    if (type & PERF_SAMPLE_ID)
        out->id = word(&at);
    if (type & PERF_SAMPLE_STREAM_ID)
        out->stream_id = word(&at);
    if (type & PERF_SAMPLE_CPU)
        pair(&at, &out->cpu, &reserved);
    if (type & PERF_SAMPLE_PERIOD)
        out->period = word(&at);
    /* A cursor for each stretch: what is passed by address leaves the registers. */
    if (type & PERF_SAMPLE_READ) {
        struct cursor c = {buffer, next, end, 0};
        take_read(&c, attr, out);
        if (c.bad)
            return 0;
        next = c.at;
    }
    if (type & PERF_SAMPLE_CALLCHAIN) {
        struct cursor c = {buffer, next, end, 0};
        const uint64_t nr = take(&c);
        out->callchain_offset = skip(&c, nr, sizeof(uint64_t));
        out->callchain_count = (uint32_t)nr;
        if (c.bad)
            return 0;
        next = c.at;
    }
    if (type >= PERF_SAMPLE_RAW) {
        struct cursor c = {buffer, next, end, 0};
        take_rest(&c, attr, hw_idx, out);
        if (c.bad)
            return 0;
        next = c.at;
    }
    return next == end;
}

#define BEFORE_ID (PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR)
#define BEHIND_ID (PERF_SAMPLE_STREAM_ID | PERF_SAMPLE_CPU)
#define ANY_ID (PERF_SAMPLE_ID | PERF_SAMPLE_IDENTIFIER)
#define BEFORE_READ (BEFORE_ID | BEHIND_ID | ANY_ID | PERF_SAMPLE_PERIOD)
#define TRAILER (PERF_SAMPLE_TID | PERF_SAMPLE_TIME | BEHIND_ID | ANY_ID)

/* Where the id is: from the record's begin in a sample, from its end in a trailer; 0 if it has none. */
static size_t id_in_sample(uint64_t type)
{
    const size_t before = type & PERF_SAMPLE_IDENTIFIER ? 0 : words(type, BEFORE_ID);
    return type & ANY_ID ? sizeof(struct perf_event_header) + 8 * before : 0;
}

static size_t id_in_trailer(uint64_t type)
{
    const size_t behind = type & PERF_SAMPLE_IDENTIFIER ? 0 : words(type, BEHIND_ID);
    return type & ANY_ID ? 8 * (behind + 1) : 0;
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

static const struct perf_event_attr *find(const struct records_event *events, size_t n, const char *id_at)
{
    uint64_t id;

    memcpy(&id, id_at, sizeof id);
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

/* memset by the cache line: gcc makes one of the whole struct a rep stos, which takes longer than all the rest. */
static void clear(struct perf_sample *out)
{
    enum { LINE = 64, LINES = sizeof *out / LINE };

    for (size_t line = 0; line < LINES; line++)
        memset((char *)out + line * LINE, 0, LINE);
    memset((char *)out + LINES * LINE, 0, sizeof *out % LINE);
}

static void begin_sample(size_t offset, const struct perf_event_header *header, struct perf_sample *out)
{
    clear(out);
    out->offset = (uint32_t)offset;
    out->size = header->size;
    out->misc = header->misc;
}

/* Where the CPU gave no branch stack at all, the kernel leaves hw_idx out too: the record's length tells. */
static int without_hw_idx(const char *buffer, size_t offset, const struct perf_event_header *header,
                          const struct perf_event_attr *attr, size_t fixed, struct perf_sample *out)
{
    if (!(attr->sample_type & PERF_SAMPLE_BRANCH_STACK) || !(attr->branch_sample_type & PERF_SAMPLE_BRANCH_HW_INDEX) ||
        out->branch_count != 0)
        return 0;
    begin_sample(offset, header, out);
    return take_sample(buffer, offset + sizeof *header, offset + header->size, attr, fixed, 0, out) &&
           out->branch_count == 0;
}

/* Decode the sample at `offset`; 0, or -1. */
INLINE int parse_one(const char *buffer, size_t offset, const struct perf_event_header *header,
                     const struct perf_event_attr *attr, size_t fixed, struct perf_sample *out)
{
    begin_sample(offset, header, out);
    if (take_sample(buffer, offset + sizeof *header, offset + header->size, attr, fixed, 1, out) ||
        without_hw_idx(buffer, offset, header, attr, fixed, out))
        return 0;
    return failed(EBADMSG);
}

void records_prepare(struct perf_sample *out, size_t n)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t begin = ((uintptr_t)out + page - 1) & ~(page - 1), end = ((uintptr_t)out + n * sizeof *out) & ~(page - 1);
    const size_t large = 4 * 1024 * 1024;

    if (n * sizeof *out >= large)
        madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}

long records_parse(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                   struct perf_sample *out, size_t n, size_t *consumed, size_t *done)
{
    struct perf_event_header header;
    const struct perf_event_attr *attr, *planned;
    size_t offset = 0, filled = 0, id_place, fixed;
    int found;

    *consumed = *done = 0;
    if (ids_agree(events, n_events, id_in_sample) < 0)
        return -1;
    if (size > UINT32_MAX)
        return failed(EINVAL);
    attr = planned = events->attr;
    fixed = 8 * words(attr->sample_type, BEFORE_READ);
    id_place = by_id(events, n_events) ? id_in_sample(attr->sample_type) : 0;
    while ((found = next_header(buffer, size, offset, &header)) > 0) {
        if (header.type == PERF_RECORD_SAMPLE) {
            if (filled == n)
                break;
            if (id_place) {
                attr = header.size < id_place + 8 ? (failed(EBADMSG), NULL)
                                                  : find(events, n_events, (const char *)buffer + offset + id_place);
                if (attr && attr != planned) {
                    planned = attr;
                    fixed = 8 * words(attr->sample_type, BEFORE_READ);
                }
            }
            if (!attr || parse_one(buffer, offset, &header, attr, fixed, out + filled) < 0) {
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
    const struct perf_event_attr *attr;
    const char *end, *at;
    uint64_t type;
    uint32_t reserved;
    size_t id_place, body;

    if (ids_agree(events, n_events, id_in_trailer) < 0)
        return -1;
    if (next_header(buffer, size, 0, &header) <= 0)
        return failed(EBADMSG);
    attr = events->attr;
    id_place = by_id(events, n_events) ? id_in_trailer(attr->sample_type) : 0;
    if (header.size < sizeof header + id_place)
        return failed(EBADMSG);
    end = (const char *)buffer + header.size;
    if (id_place && !(attr = find(events, n_events, end - id_place)))
        return -1;
    type = attr->sample_type;
    body = header.type < PERF_RECORD_MAX ? body_size[header.type] : 0;
    if (header.size < (body ? body : sizeof header) + 8 * words(type, TRAILER))
        return failed(EBADMSG);
    at = end - 8 * words(type, TRAILER);
    begin_sample(0, &header, out);
    if (type & PERF_SAMPLE_TID)
        pair(&at, &out->pid, &out->tid);
    if (type & PERF_SAMPLE_TIME)
        out->time = word(&at);
    if (type & PERF_SAMPLE_ID)
        out->id = word(&at);
    if (type & PERF_SAMPLE_STREAM_ID)
        out->stream_id = word(&at);
    if (type & PERF_SAMPLE_CPU)
        pair(&at, &out->cpu, &reserved);
    if (type & PERF_SAMPLE_IDENTIFIER)
        out->id = word(&at);
    return 0;
}
