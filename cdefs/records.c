#include "internal.h"
#include "records.h"

static const unsigned char body_sizes[PERF_RECORD_MAX] = {
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

size_t record_body_size(uint32_t type)
{
    return type < PERF_RECORD_MAX ? body_sizes[type] : 0;
}

int record_is_sound(const char *record, const struct perf_event_header *header)
{
    size_t rest;

    if (header->type >= PERF_RECORD_MAX)
        return 1;
    if (header->size < body_sizes[header->type])
        return 0;
    rest = header->size - body_sizes[header->type];
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
        /* The struct is padded to a multiple of 8 bytes, and `bytes` begins before the padding. */
        return (size_t)body.old_len + body.new_len <= header->size - offsetof(struct perf_record_text_poke, bytes);
    }
    if (header->type == PERF_RECORD_CALLCHAIN_DEFERRED) {
        struct perf_record_callchain_deferred body;
        memcpy(&body, record, sizeof body);
        return body.nr <= rest / sizeof(uint64_t);
    }
    return 1;
}

long records_next(const void *buffer, size_t size, size_t offset)
{
    struct perf_event_header header;
    const int found = next_header(buffer, size, offset, &header);

    if (found <= 0)
        return found;
    return record_is_sound((const char *)buffer + offset, &header) ? header.size : fail(EBADMSG);
}

long records_walk(const void *buffer, size_t size, size_t *offset, uint32_t *types, uintptr_t *addresses, size_t n)
{
    struct perf_event_header header;
    int found = 0;
    size_t filled = 0;

    while (filled < n && (found = next_header(buffer, size, *offset, &header)) > 0) {
        if (!record_is_sound((const char *)buffer + *offset, &header)) {
            found = fail(EBADMSG);
            break;
        }
        types[filled] = header.type;
        addresses[filled++] = (uintptr_t)buffer + *offset;
        *offset += header.size;
    }
    return found < 0 && filled == 0 ? -1 : (long)filled;
}

long records_find(const void *buffer, size_t size, size_t *offset, uint64_t user_types)
{
    struct perf_event_header header;
    size_t at = *offset;
    int found;

    while ((found = next_header(buffer, size, at, &header)) > 0) {
        const uint32_t bit = header.type - FIRST_USER_TYPE; /* wraps to a large number for the kernel's types */
        if (bit < 64 && user_types >> bit & 1)
            break;
        at += header.size;
    }
    *offset = at;
    return found > 0 ? header.size : found;
}
