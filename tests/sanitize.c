/* Feeds the decoders valid, truncated and random bytes in heap blocks of exactly their size, under ASan and UBSan: a read
 * or write beyond a block, an overflow or a misaligned access ends the run. Exit status 0: nothing was found. */
#define _GNU_SOURCE
#include "internal.h"
#include "counters.h"
#include "records.h"
#include "ring.h"
#include "samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(condition) ((condition) ? (void)0 : die(__LINE__, #condition))

enum { ROUNDS = 60000, ROOM = 4096, MANY = 16 };

static _Noreturn void die(int line, const char *condition)
{
    fprintf(stderr, "%s:%d: %s\n", __FILE__, line, condition);
    exit(1);
}

static uint64_t state = 88172645463325252;

/* xorshift64: the same bytes in every run. */
static uint64_t any(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint64_t below(uint64_t n)
{
    return (any() >> 16) % n;
}

/* Words that counts and lengths are made of: small, huge, at the edges. */
static uint64_t edge(void)
{
    switch (below(6)) {
    case 0:
        return any();
    case 1:
        return UINT64_MAX - below(32);
    case 2:
        return (UINT64_C(1) << (below(2) ? 58 + below(6) : below(64))) + below(4);
    case 3:
        return 0;
    default:
        return below(9);
    }
}

/* A block of the size, so that its end is the end of what may be touched. */
static void *block(size_t size)
{
    void *memory = malloc(size ? size : 1);

    CHECK(memory != NULL);
    return memory;
}

static void *copy_of(const void *bytes, size_t size)
{
    void *memory = block(size);

    memcpy(memory, bytes, size);
    return memory;
}

static void random_attr(struct perf_event_attr *attr)
{
    memset(attr, 0, sizeof *attr);
    attr->sample_type = any() & any() & (PERF_SAMPLE_MAX - 1);
    if (below(3) == 0)
        attr->sample_type = UINT64_C(1) << below(25);
    attr->read_format = below(PERF_FORMAT_MAX);
    attr->branch_sample_type = below(2) ? any() & (PERF_SAMPLE_BRANCH_MAX - 1) : 0;
    attr->sample_regs_user = any() & any() & any() & any();
    attr->sample_regs_intr = below(4) ? any() & any() & any() : UINT64_MAX;
    attr->sample_id_all = 1;
}

/* Records with headers that mostly hold, and bodies of plausible words. Returns their size. */
static size_t random_records(char *out, size_t room)
{
    size_t at = 0;

    while (room - at >= 8 && below(12)) {
        struct perf_event_header header;
        const size_t largest = (room - at - 8) / 8 < 24 ? (room - at - 8) / 8 : 24;
        const size_t words = (size_t)below(largest + 1);
        header.type = below(2) ? PERF_RECORD_SAMPLE : (uint32_t)below(26);
        header.misc = (uint16_t)any();
        header.size = (uint16_t)(8 + 8 * words);
        if (below(40) == 0)
            header.size = (uint16_t)any();
        memcpy(out + at, &header, sizeof header);
        for (size_t i = 0; i < words; i++) {
            const uint64_t value = edge();
            memcpy(out + at + 8 + 8 * i, &value, sizeof value);
        }
        at += 8 + 8 * words;
    }
    return at;
}

/* Read every byte that a sample says is its own. */
static uint64_t touch(const char *data, size_t size, const struct perf_sample *s)
{
    const struct {
        uint64_t offset, length;
    } parts[] = {
        {s->callchain_offset, 8 * (uint64_t)s->callchain_count},
        {s->raw_offset, s->raw_count},
        {s->branch_offset, sizeof(struct perf_branch_entry) * (uint64_t)s->branch_count},
        {s->branch_counters_offset, s->branch_counters_offset ? 8 * (uint64_t)s->branch_count : 0},
        {s->user_regs_offset, 8 * (uint64_t)s->user_regs_count},
        {s->intr_regs_offset, 8 * (uint64_t)s->intr_regs_count},
        {s->user_stack_offset, s->user_stack_count},
        {s->aux_offset, s->aux_count},
    };
    uint64_t sum = 0;

    CHECK(s->offset + (uint64_t)s->size <= size);
    for (size_t part = 0; part < sizeof parts / sizeof *parts; part++) {
        if (parts[part].length == 0)
            continue;
        CHECK(parts[part].offset >= s->offset + 8u);
        CHECK(parts[part].offset + parts[part].length <= s->offset + (uint64_t)s->size);
        for (uint64_t i = 0; i < parts[part].length; i++)
            sum += (unsigned char)data[parts[part].offset + i];
    }
    return sum;
}

/* Decode single fields of the samples, and what comes behind them: they are those of the rows `out[0 .. n)`. */
static void compare_columns(const char *data, size_t size, const struct records_event *events, size_t n_events,
                            const struct perf_sample *out, size_t n)
{
#define COLUMN(field) {NULL, offsetof(struct perf_sample, field), sizeof((struct perf_sample *)0)->field}
    struct records_column all[] = {COLUMN(ip),     COLUMN(pid),  COLUMN(tid),    COLUMN(time), COLUMN(id),
                                   COLUMN(period), COLUMN(misc), COLUMN(offset), COLUMN(weight)};
#undef COLUMN
    const size_t first = (size_t)below(9), n_columns = (size_t)below(10 - first);
    size_t consumed, done;

    for (size_t i = 0; i < n_columns; i++)
        all[first + i].out = block((n + 1) * all[first + i].size);
    records_columns(data, size, events, n_events, all + first, n_columns, n + 1, &consumed, &done);
    CHECK(done == n || done == n + 1);
    for (size_t i = 0; i < n_columns; i++) {
        const struct records_column *column = all + first + i;
        for (size_t row = 0; row < n; row++)
            CHECK(memcmp((char *)column->out + row * column->size, (const char *)(out + row) + column->field,
                         column->size) == 0);
        free(column->out);
    }
}

/* Go through the records: at most `n` in each call. Returns how many there are before the end or a corrupt one. */
static size_t walk(const char *data, size_t size, size_t n)
{
    uint32_t *types = block(n * sizeof *types);
    uintptr_t *addresses = block(n * sizeof *addresses);
    size_t offset = 0, total = 0;
    long found;

    while ((found = records_walk(data, size, &offset, types, addresses, n)) > 0) {
        for (long i = 0; i < found; i++) {
            struct perf_event_header header;
            memcpy(&header, (const char *)addresses[i], sizeof header);
            CHECK(header.type == types[i]);
        }
        total += (size_t)found;
    }
    free(types);
    free(addresses);
    return total;
}

static uint64_t decode(const char *data, size_t size)
{
    struct perf_event_attr *attrs = block(2 * sizeof *attrs);
    struct records_event events[2] = {{0, attrs}, {7, attrs + 1}};
    const size_t n = (size_t)below(5), n_events = (size_t)below(4) ? 1 : 2;
    struct perf_sample *out = block(n * sizeof *out);
    size_t consumed = 0, done = 0, at = 0;
    uint64_t sum = 0;
    long found;

    random_attr(attrs);
    random_attr(attrs + 1);
    if (below(2))
        attrs[1] = attrs[0];
    found = records_parse_all(data, size, events, n_events, out, n, &consumed, &done);
    CHECK(done <= n && consumed <= size && (found == -1 || (size_t)found == done));
    CHECK(done <= records_count_all(data, size) && walk(data, size, n + 1) <= records_count_all(data, size));
    for (size_t i = 0; i < done; i++)
        sum += touch(data, size, out + i);
    found = records_parse(data, size, events, n_events, out, n, &consumed, &done);
    CHECK(done <= n && consumed <= size && (found == -1 || (size_t)found == done));
    CHECK(done <= records_count(data, size));
    for (size_t i = 0; i < done; i++)
        sum += touch(data, size, out + i);
    compare_columns(data, size, events, n_events, out, done);
    for (long next; (next = records_next(data, size, at)) > 0; at += (size_t)next) {
        struct perf_sample *id = block(sizeof *id);
        char *record = copy_of(data + at, (size_t)next);
        CHECK(next >= 8 && next % 8 == 0 && (size_t)next <= size - at);
        if (records_sample_id(record, (size_t)next, events, n_events, id) == 0)
            sum += id->id;
        free(record);
        free(id);
    }
    free(out);
    free(attrs);
    return sum;
}

static uint64_t decode_copy(const char *bytes, size_t size)
{
    char *data = copy_of(bytes, size);
    const uint64_t sum = decode(data, size);

    free(data);
    return sum;
}

static uint64_t records(void)
{
    uint64_t sum = 0;

    for (int round = 0; round < ROUNDS; round++) {
        char scratch[512];
        size_t size = random_records(scratch, sizeof scratch);
        if (below(8) == 0)
            for (size = 0; size < below(100); size++)
                scratch[size] = (char)any();
        else if (below(4) == 0)
            size -= (size_t)below(size + 1 < 64 ? size + 1 : 64);
        sum += decode_copy(scratch, size);
    }
    return sum;
}

/* A sample with everything, whole and cut at every word: only the whole one is one. */
static void truncated(void)
{
    const uint64_t words[] = {1,  2, 3,  4,  5,  6,  7, 8, 9,  /* IDENTIFIER to PERIOD */
                              1,  2, 3,  10, 11, 12,           /* READ of a group of 1: times, value, id, lost */
                              2,  1, 2,  4,                    /* CALLCHAIN; RAW: a length of 4, its bytes */
                              1,  9, 1,  2,  3,  4,            /* BRANCH_STACK: nr, hw_idx, entry, counter */
                              2,  1, 2,  16, 1,  2,  8,        /* REGS_USER; STACK_USER */
                              1,  2, 3,  2,  1,                /* WEIGHT, DATA_SRC, TRANSACTION; REGS_INTR */
                              1,  2, 3,  4,                    /* PHYS_ADDR to CODE_PAGE_SIZE */
                              9,  1, 2};                       /* AUX of 9 bytes */
    struct perf_event_attr attr = {.sample_type = (PERF_SAMPLE_MAX - 1) & ~(uint64_t)PERF_SAMPLE_WEIGHT_STRUCT,
                                   .read_format = PERF_FORMAT_MAX - 1,
                                   .branch_sample_type = PERF_SAMPLE_BRANCH_HW_INDEX | PERF_SAMPLE_BRANCH_COUNTERS,
                                   .sample_regs_user = 3,
                                   .sample_regs_intr = 1u << 31};
    const struct records_event event = {0, &attr};

    for (size_t n = 0; n <= sizeof words / sizeof *words; n++) {
        struct perf_event_header header = {PERF_RECORD_SAMPLE, 0, (uint16_t)(8 + 8 * n)};
        struct perf_sample *out = block(sizeof *out);
        char *data = block(header.size);
        size_t consumed, done;
        long found;
        memcpy(data, &header, sizeof header);
        memcpy(data + sizeof header, words, 8 * n);
        found = records_parse(data, header.size, &event, 1, out, 1, &consumed, &done);
        CHECK((found == 1) == (n == sizeof words / sizeof *words));
        if (found == 1) {
            CHECK(out->aux_count == 9 && out->code_page_size == 4 && out->user_stack_count == 8 && out->read_count == 1);
            touch(data, header.size, out);
        }
        free(data);
        free(out);
    }
}

static uint64_t counters(void)
{
    uint64_t sum = 0;

    for (int round = 0; round < ROUNDS; round++) {
        const size_t size = (size_t)(below(4) ? 8 * below(20) : below(100)), n = (size_t)below(6);
        struct perf_counts *out = block(n * sizeof *out);
        char *data = block(size);
        uint64_t scaled[2];
        int found;
        for (size_t i = 0; i < size; i++)
            data[i] = (char)any();
        if (size >= 8) {
            const uint64_t nr = edge();
            memcpy(data, &nr, sizeof nr);
        }
        found = counters_parse(data, size, below(40), out, n);
        for (size_t i = 0; found > 0 && i < n && i < (size_t)found; i++)
            if (counters_scale(out + i, scaled))
                sum += scaled[0] + scaled[1];
        free(data);
        free(out);
    }
    return sum;
}

/* A ring whose last byte is the last of its block, in any state, drained into buffers of any size. */
static uint64_t rings(void)
{
    const size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
    uint64_t sum = 0;

    for (int round = 0; round < ROUNDS / 20; round++) {
        const size_t ring_size = page_size << below(2), aux_size = page_size;
        struct perf_event_mmap_page *page = NULL;
        char *aux = block(aux_size), *data;
        CHECK(posix_memalign((void **)&page, page_size, page_size + ring_size) == 0);
        data = (char *)page + page_size;
        memset(page, 0, page_size);
        memset(aux, 1, aux_size);
        page->data_offset = below(50) ? page_size : edge();
        page->data_size = below(50) ? ring_size : edge();
        /* The sizes that the caller gives are never beyond what is mapped; the page may say anything. */
        const uint64_t data_size = below(50) ? ring_size : edge() & (ring_size - 1);
        const uint64_t aux_given = below(20) ? aux_size : edge() & (aux_size - 1);
        for (size_t at = 0, size; at < ring_size; at += size ? size : 8) {
            size = random_records(data + at, ring_size - at);
            if (size == 0)
                memset(data + at, (int)below(3), 8);
        }
        page->data_tail = below(2) ? 8 * below(4 * ring_size) : UINT64_MAX - 7 - 8 * below(ring_size);
        page->data_head = page->data_tail + (below(8) ? 8 * below(ring_size / 8 + 1) : 8 * below(ring_size / 2));
        sum += ring_data_size(page);
        page->aux_tail = edge();
        page->aux_head = page->aux_tail + below(below(8) ? aux_size + 1 : 3 * aux_size);
        for (int call = 0; call < MANY; call++) {
            const size_t size = (size_t)(below(4) ? below(300) : below(2 * ring_size));
            const uint64_t head = page->data_head, tail = page->data_tail;
            char *buffer = block(size);
            long got = ring_read_sized(page, data_size, buffer, size);
            CHECK(got <= (long)size && page->data_tail == tail + (got > 0 ? (uint64_t)got : 0));
            for (long i = 0; i < got; i++)
                sum += (unsigned char)buffer[i];
            CHECK(got != 0 || head == tail);
            CHECK(ring_next_size_sized(page, data_size) <= (long)ring_size);
            struct ring_share *share = block(sizeof *share);
            size_t needed;
            struct perf_event_mmap_page *const *const only = &page;
            page->data_tail = tail;
            got = ring_drain(only, &data_size, 1, buffer, size, share, &needed);
            CHECK(got <= (long)size);
            free(share);
            got = ring_read_aux_sized(page, aux, aux_given, buffer, size);
            CHECK(got <= (long)size);
            if (below(2))
                page->data_head = 0 - 8 * below(4 * ring_size);
            got = ring_snapshot_sized(page, data_size, buffer, size);
            CHECK(got <= (long)size);
            if (got > 0)
                sum += decode_copy(buffer, (size_t)got);
            page->data_head = head;
            free(buffer);
        }
        free(page);
        free(aux);
    }
    return sum;
}

int main(void)
{
    truncated();
    printf("%llx\n", (unsigned long long)(records() ^ counters() ^ rings()));
    return 0;
}
