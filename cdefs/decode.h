/* Decode one sample, or one sample_id_all trailer. Inlined into the loops over many records. Not installed, not read by
 * cffi. */
#pragma once
#include "internal.h"
#include "counters.h"
#include "samples.h"

/* The part of a record that is still to be decoded: base[at .. end). A read beyond `end` sets `bad` and gives 0, so
 * that a function may read several fields and leave it to its caller to check `bad` once. */
struct cursor {
    const char *base;
    size_t at;
    size_t end;
    int bad;
};

/* The fields of an attr that tell how its samples are laid out. They are copied from the attr before decoding: if
 * another thread changes the attr meanwhile, nothing is read beyond what was checked. */
struct layout {
    uint64_t sample_type;
    uint64_t read_format;
    uint64_t branch_sample_type;
    uint32_t user_regs, intr_regs; /* how many registers a sample has */
    size_t fixed;                  /* the size in bytes of the fields before READ */
};

/* Groups of PERF_SAMPLE_ bits. BEFORE_ID, BEFORE_READ: the fields that precede ID, or READ, in a sample. AFTER_ID:
 * those that follow ID in a sample_id_all trailer. TRAILER: all that a trailer can have. */
#define BEFORE_ID (PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR)
#define AFTER_ID (PERF_SAMPLE_STREAM_ID | PERF_SAMPLE_CPU)
#define ANY_ID (PERF_SAMPLE_ID | PERF_SAMPLE_IDENTIFIER)
#define BEFORE_READ (BEFORE_ID | AFTER_ID | ANY_ID | PERF_SAMPLE_PERIOD)
#define TRAILER (PERF_SAMPLE_TID | PERF_SAMPLE_TIME | AFTER_ID | ANY_ID)

/* How many of the PERF_SAMPLE_ bits `of` are set in a sample_type: that is how many 8-byte words their fields take. */
INLINE size_t count_words(uint64_t sample_type, uint64_t of)
{
    return (size_t)__builtin_popcountll(sample_type & of);
}

/* Load sample_type once. Without the volatile the compiler could load it again later, when another thread may have
 * changed it. */
INLINE uint64_t read_sample_type(const struct perf_event_attr *attr)
{
    return *(const volatile uint64_t *)&attr->sample_type;
}

INLINE struct layout layout_of(const struct perf_event_attr *attr)
{
    const uint64_t type = read_sample_type(attr);
    return (struct layout){
        type,
        attr->read_format,
        attr->branch_sample_type,
        (uint32_t)__builtin_popcountll(attr->sample_regs_user),
        (uint32_t)__builtin_popcountll(attr->sample_regs_intr),
        8 * count_words(type, BEFORE_READ),
    };
}

INLINE size_t left(const struct cursor *c)
{
    return c->end - c->at;
}

INLINE uint64_t take(struct cursor *c)
{
    const char *at = c->base + c->at;

    if (left(c) < sizeof(uint64_t)) {
        c->bad = 1;
        return 0;
    }
    c->at += sizeof(uint64_t);
    return next_word(&at);
}

/* Pass over `count` elements of `element` bytes; return the byte offset of the first from the start of the buffer. It
 * fits 32 bits: records_parse refuses buffers of more than 4 GiB. */
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

static inline void take_read(struct cursor *c, const struct layout *layout, struct perf_sample *out)
{
    const uint64_t format = layout->read_format;
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

static inline void take_raw(struct cursor *c, struct perf_sample *out)
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
    /* The kernel pads the data so that the u32 length and the data together fill whole 8-byte words
     * (perf_prepare_sample). */
    skip(c, (8 - (sizeof size + size) % 8) % 8, 1);
}

static inline void take_branches(struct cursor *c, const struct layout *layout, int hw_idx, struct perf_sample *out)
{
    const uint64_t nr = take(c);

    if (hw_idx && layout->branch_sample_type & PERF_SAMPLE_BRANCH_HW_INDEX)
        out->branch_hw_idx = take(c);
    out->branch_offset = skip(c, nr, sizeof(struct perf_branch_entry));
    out->branch_count = (uint32_t)nr;
    if (layout->branch_sample_type & PERF_SAMPLE_BRANCH_COUNTERS)
        out->branch_counters_offset = skip(c, nr, sizeof(uint64_t));
}

static inline uint16_t take_regs(struct cursor *c, uint32_t registers, uint32_t *count, uint32_t *offset)
{
    const uint64_t abi = take(c);

    if (abi == PERF_SAMPLE_REGS_ABI_NONE)
        return 0;
    if (abi > UINT16_MAX)
        c->bad = 1;
    *count = registers;
    *offset = skip(c, registers, sizeof(uint64_t));
    return (uint16_t)abi;
}

static inline void take_stack(struct cursor *c, struct perf_sample *out)
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

/* Decode the fields from RAW on. Few events ask for any of them. */
static inline void take_rest(struct cursor *c, const struct layout *layout, int hw_idx, struct perf_sample *out)
{
    const uint64_t type = layout->sample_type;

    if (type & PERF_SAMPLE_RAW)
        take_raw(c, out);
    if (type & PERF_SAMPLE_BRANCH_STACK)
        take_branches(c, layout, hw_idx, out);
    if (type & PERF_SAMPLE_REGS_USER)
        out->user_regs_abi = take_regs(c, layout->user_regs, &out->user_regs_count, &out->user_regs_offset);
    if (type & PERF_SAMPLE_STACK_USER)
        take_stack(c, out);
    if (type & PERF_SAMPLE_WEIGHT_TYPE)
        out->weight = take(c);
    if (type & PERF_SAMPLE_DATA_SRC)
        out->data_src = take(c);
    if (type & PERF_SAMPLE_TRANSACTION)
        out->transaction = take(c);
    if (type & PERF_SAMPLE_REGS_INTR)
        out->intr_regs_abi = take_regs(c, layout->intr_regs, &out->intr_regs_count, &out->intr_regs_offset);
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

/* Read two 32-bit values, the first at the lower address. The caller has checked that they are there. */
INLINE void next_pair(const char **at, uint32_t *first, uint32_t *second)
{
    memcpy(first, *at, sizeof *first);
    memcpy(second, *at + sizeof *first, sizeof *second);
    *at += 2 * sizeof *first;
}

/* Read ID, STREAM_ID and CPU, which stand together in samples and in trailers. */
INLINE void next_identity(const char **at, uint64_t type, struct perf_sample *out)
{
    uint32_t reserved;

    if (type & PERF_SAMPLE_ID)
        out->id = next_word(at);
    if (type & PERF_SAMPLE_STREAM_ID)
        out->stream_id = next_word(at);
    if (type & PERF_SAMPLE_CPU)
        next_pair(at, &out->cpu, &reserved);
}

/* Decode buffer[begin .. end), a sample without its header; the order of the fields is that of the kernel's
 * perf_output_sample. Returns 1 if the last field ends exactly at `end`, else 0. `hw_idx` is 0 for a record that lacks
 * the hw_idx word although branch_sample_type asks for it. */
INLINE int take_sample(const char *buffer, size_t begin, size_t end, const struct layout *layout, int hw_idx,
                       struct perf_sample *out)
{
    const uint64_t type = layout->sample_type;
    const char *at = buffer + begin;
    size_t next = begin + layout->fixed;

    if (end - begin < layout->fixed)
        return 0;
    if (type & PERF_SAMPLE_IDENTIFIER)
        out->id = next_word(&at);
    if (type & PERF_SAMPLE_IP)
        out->ip = next_word(&at);
    if (type & PERF_SAMPLE_TID)
        next_pair(&at, &out->pid, &out->tid);
    if (type & PERF_SAMPLE_TIME)
        out->time = next_word(&at);
    if (type & PERF_SAMPLE_ADDR)
        out->addr = next_word(&at);
    next_identity(&at, type, out);
    if (type & PERF_SAMPLE_PERIOD)
        out->period = next_word(&at);
    /* Passing &c to a function forces the cursor to memory. A new cursor for each field leaves `next` and `end`, which
     * every sample needs, in registers. */
    if (type & PERF_SAMPLE_READ) {
        struct cursor c = {buffer, next, end, 0};
        take_read(&c, layout, out);
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
        take_rest(&c, layout, hw_idx, out);
        if (c.bad)
            return 0;
        next = c.at;
    }
    return next == end;
}

/* Clear a row 64 bytes at a time. For one memset of the whole struct gcc emits `rep stos`, which takes longer than
 * decoding the sample does. */
INLINE void clear(struct perf_sample *out)
{
    enum { LINE = 64, LINES = sizeof *out / LINE };

    for (size_t line = 0; line < LINES; line++)
        memset((char *)out + line * LINE, 0, LINE);
    memset((char *)out + LINES * LINE, 0, sizeof *out % LINE);
}

INLINE void begin_row(size_t offset, const struct perf_event_header *header, struct perf_sample *out)
{
    clear(out);
    out->type = header->type;
    out->offset = (uint32_t)offset;
    out->size = header->size;
    out->misc = header->misc;
}

/* If the CPU gave no branch stack for a sample, the kernel leaves the hw_idx word out, though branch_sample_type asks
 * for it. Such a sample does not fit its layout. This decodes such a sample again, without hw_idx; returns 1 if it fits
 * then. */
static inline int without_hw_idx(const char *buffer, size_t offset, const struct perf_event_header *header,
                                 const struct layout *layout, struct perf_sample *out)
{
    if (!(layout->sample_type & PERF_SAMPLE_BRANCH_STACK) ||
        !(layout->branch_sample_type & PERF_SAMPLE_BRANCH_HW_INDEX) || out->branch_count != 0)
        return 0;
    begin_row(offset, header, out);
    return take_sample(buffer, offset + sizeof *header, offset + header->size, layout, 0, out) &&
           out->branch_count == 0;
}

/* Decode the sample at `offset` into a row. Returns 0; or -1 with EBADMSG if its fields do not use the record up
 * exactly. */
INLINE int parse_sample(const char *buffer, size_t offset, const struct perf_event_header *header,
                        const struct layout *layout, struct perf_sample *out)
{
    begin_row(offset, header, out);
    if (take_sample(buffer, offset + sizeof *header, offset + header->size, layout, 1, out) ||
        without_hw_idx(buffer, offset, header, layout, out))
        return 0;
    return fail(EBADMSG);
}

/* Decode the sample_id_all trailer of the record at `offset`; `type` is the sample_type of its attr. Returns 0; or -1
 * with EBADMSG if the record is too short for such a trailer. */
static inline int parse_trailer(const char *buffer, size_t offset, const struct perf_event_header *header,
                                uint64_t type, struct perf_sample *out)
{
    const size_t body = record_body_size(header->type), size = 8 * count_words(type, TRAILER);
    const char *at = buffer + offset + header->size - size;

    if (header->size < (body ? body : sizeof *header) + size)
        return fail(EBADMSG);
    if (type & PERF_SAMPLE_TID)
        next_pair(&at, &out->pid, &out->tid);
    if (type & PERF_SAMPLE_TIME)
        out->time = next_word(&at);
    next_identity(&at, type, out);
    if (type & PERF_SAMPLE_IDENTIFIER)
        out->id = next_word(&at);
    return 0;
}
