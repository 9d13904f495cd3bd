#include "match.h"

enum { BLOCK = 128, ABSENT = -1 };

/* The fields that a sample has before READ, in their order in the record, each 8 bytes long. `first` is the offset of
 * the field in struct perf_sample. TID consists of two 32-bit values: `second` is the offset of the second of them. */
static const struct {
    uint64_t bit;
    uint32_t first, second;
} FIXED[] = {
#define FIELD(BIT, field) {PERF_SAMPLE_##BIT, offsetof(struct perf_sample, field), UINT32_MAX}
    FIELD(IDENTIFIER, id),
    FIELD(IP, ip),
    {PERF_SAMPLE_TID, offsetof(struct perf_sample, pid), offsetof(struct perf_sample, tid)},
    FIELD(TIME, time),
    FIELD(ADDR, addr),
    FIELD(ID, id),
    FIELD(STREAM_ID, stream_id),
    FIELD(CPU, cpu),
    FIELD(PERIOD, period),
#undef FIELD
};

/* The byte offset, from the start of a record, of the field that a column asks for; ABSENT if samples of this
 * sample_type do not have it. */
static int field_offset(uint64_t sample_type, const struct records_column *column)
{
    int at = sizeof(struct perf_event_header), offset = ABSENT;

    if (column->field == offsetof(struct perf_sample, type))
        return offsetof(struct perf_event_header, type);
    if (column->field == offsetof(struct perf_sample, misc))
        return offsetof(struct perf_event_header, misc);
    if (column->field == offsetof(struct perf_sample, size))
        return offsetof(struct perf_event_header, size);
    for (size_t i = 0; i < sizeof FIXED / sizeof *FIXED; i++) {
        if (!(sample_type & FIXED[i].bit))
            continue;
        if (column->field == FIXED[i].first)
            offset = at;
        if (column->field == FIXED[i].second)
            offset = at + (int)sizeof(uint32_t);
        at += (int)sizeof(uint64_t);
    }
    return offset;
}

/* True if the columns can be copied straight from the records, without decoding each sample into a struct perf_sample:
 * the samples have only the fields before READ and perhaps a callchain, so that their length is easily checked; and
 * every column is a field of struct perf_sample up to `misc`, other than `offset`. Of these, the ones that such samples
 * lack (`weight`, for example) are 0. */
static int is_simple(const struct layout *layout, const struct records_column *columns, size_t n)
{
    if (layout->sample_type & ~(uint64_t)(BEFORE_READ | PERF_SAMPLE_CALLCHAIN))
        return 0;
    for (size_t i = 0; i < n; i++)
        if (columns[i].field == offsetof(struct perf_sample, offset) ||
            columns[i].field > offsetof(struct perf_sample, misc) || columns[i].size > sizeof(uint64_t))
            return 0;
    return 1;
}

/* True if the record is exactly as long as its fields before READ and the count of its callchain say. */
INLINE int is_whole(const char *record, size_t size, const struct layout *layout)
{
    const size_t fixed = sizeof(struct perf_event_header) + layout->fixed;
    const char *at = record + fixed;

    if (!(layout->sample_type & PERF_SAMPLE_CALLCHAIN))
        return size == fixed;
    return size >= fixed + sizeof(uint64_t) && next_word(&at) == (size - fixed) / sizeof(uint64_t) - 1;
}

/* Copy the value of 8, 4 or 2 bytes at byte `offset` of each of `n` records into a column, from the column's index `row`
 * on. */
static void copy_column(const struct records_column *column, int offset, const char *const *records, size_t row, size_t n)
{
    char *out = (char *)column->out + row * column->size;

    if (offset == ABSENT)
        memset(out, 0, n * column->size);
    else if (column->size == 8)
        for (size_t i = 0; i < n; i++)
            memcpy(out + 8 * i, records[i] + offset, 8);
    else if (column->size == 4)
        for (size_t i = 0; i < n; i++)
            memcpy(out + 4 * i, records[i] + offset, 4);
    else
        for (size_t i = 0; i < n; i++)
            memcpy(out + 2 * i, records[i] + offset, 2);
}

/* True if BLOCK samples of `size` bytes each, and no other records among them, begin at `at`, as is the case in most of
 * a usual buffer. Each header is compared as one 64-bit word, with its misc masked out. As the sizes are known
 * beforehand, the CPU need not load one header to find the next. */
static int is_block(const char *at, size_t size)
{
    const struct perf_event_header header = {PERF_RECORD_SAMPLE, 0, (uint16_t)size};
    const struct perf_event_header compared = {UINT32_MAX, 0, UINT16_MAX};
    uint64_t expected, mask, differences = 0;

    memcpy(&expected, &header, sizeof expected);
    memcpy(&mask, &compared, sizeof mask);
    for (size_t i = 0; i < BLOCK; i++) {
        const char *record = at + i * size;
        differences |= (next_word(&record) ^ expected) & mask;
    }
    return differences == 0;
}

/* Fill the columns straight from the records (see is_simple): find up to BLOCK samples, copy each column of these, and
 * so on. */
static long copy_columns(const char *buffer, size_t size, const struct layout *layout,
                         const struct records_column *columns, size_t n_columns, size_t n, size_t *consumed,
                         size_t *done)
{
    const char *records[BLOCK];
    struct perf_event_header header;
    const size_t fixed = sizeof header + layout->fixed;
    const int is_fixed = !(layout->sample_type & PERF_SAMPLE_CALLCHAIN);
    size_t offset = 0, filled = 0, found;
    int state = 1;

    while (state > 0 && filled < n) {
        found = 0;
        if (is_fixed && n - filled >= BLOCK && size - offset >= BLOCK * fixed && is_block(buffer + offset, fixed)) {
            for (; found < BLOCK; offset += fixed)
                records[found++] = buffer + offset;
        }
        for (; found < BLOCK && filled + found < n && (state = next_header(buffer, size, offset, &header)) > 0;
             offset += header.size) {
            if (header.type != PERF_RECORD_SAMPLE)
                continue;
            if (!is_whole(buffer + offset, header.size, layout)) {
                state = fail(EBADMSG);
                break;
            }
            records[found++] = buffer + offset;
        }
        for (size_t i = 0; i < n_columns; i++)
            copy_column(columns + i, field_offset(layout->sample_type, columns + i), records, filled, found);
        filled += found;
    }
    *consumed = offset;
    *done = filled;
    return state < 0 ? -1 : (long)filled;
}

/* Fill the columns by way of a row: decode each sample into one struct perf_sample, and copy the columns' fields from
 * there. */
static long spread_rows(const char *buffer, size_t size, struct current *current, const struct records_column *columns,
                        size_t n_columns, size_t n, size_t *consumed, size_t *done)
{
    struct perf_event_header header;
    struct perf_sample row;
    size_t offset = 0, filled = 0;
    int state;

    for (; (state = next_header(buffer, size, offset, &header)) > 0; offset += header.size) {
        if (header.type != PERF_RECORD_SAMPLE)
            continue;
        if (filled == n)
            break;
        if ((current->id_at && select_event(current, buffer + offset, header.size) < 0) ||
            parse_sample(buffer, offset, &header, &current->layout, &row) < 0) {
            state = -1;
            break;
        }
        for (size_t i = 0; i < n_columns; i++)
            memcpy((char *)columns[i].out + filled * columns[i].size, (const char *)&row + columns[i].field,
                   columns[i].size);
        filled++;
    }
    *consumed = offset;
    *done = filled;
    return state < 0 ? -1 : (long)filled;
}

long records_columns(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                     const struct records_column *columns, size_t n_columns, size_t n, size_t *consumed, size_t *done)
{
    struct current current;

    *consumed = *done = 0;
    if (begin_events(&current, events, n_events, size) < 0)
        return -1;
    if (current.id_at == 0 && is_simple(&current.layout, columns, n_columns))
        return copy_columns(buffer, size, &current.layout, columns, n_columns, n, consumed, done);
    return spread_rows(buffer, size, &current, columns, n_columns, n, consumed, done);
}
