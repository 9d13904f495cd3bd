/* Feeds records_columns and records_sort many samples in heap blocks of exactly their size, under ASan and UBSan, as
 * sanitize.c does with few. Exit status 0: nothing was found. */
#include "internal.h"
#include "samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) ((condition) ? (void)0 : die(__LINE__, #condition))

static _Noreturn void die(int line, const char *condition)
{
    fprintf(stderr, "%s:%d: %s\n", __FILE__, line, condition);
    exit(1);
}

static void *block(size_t size)
{
    void *memory = malloc(size);

    CHECK(memory != NULL);
    return memory;
}

/* Samples of 16 bytes: of an ip, whose columns are copied from blocks of samples, or of an empty callchain. The array
 * has room for fewer samples than there are, or for more. */
static void copy_column(size_t n, size_t room, uint64_t sample_type)
{
    const struct perf_event_attr attr = {.sample_type = sample_type};
    const struct records_event event = {0, &attr};
    const struct perf_event_header header = {PERF_RECORD_SAMPLE, 0, 16};
    char *data = block(16 * n);
    uint64_t *out = block(8 * room);
    const size_t expected = n < room ? n : room;
    const struct records_column column = {out, offsetof(struct perf_sample, ip), 8};
    size_t consumed, done;

    for (size_t i = 0; i < n; i++) {
        const uint64_t ip = sample_type == PERF_SAMPLE_IP ? i : 0;
        memcpy(data + 16 * i, &header, sizeof header);
        memcpy(data + 16 * i + 8, &ip, sizeof ip);
    }
    CHECK(records_columns(data, 16 * n, &event, 1, &column, 1, room, &consumed, &done) == (long)expected);
    CHECK(consumed == 16 * expected && done == expected);
    for (size_t i = 0; i < expected; i++)
        CHECK(out[i] == (sample_type == PERF_SAMPLE_IP ? i : 0));
    free(data);
    free(out);
}

/* Rows of `runs` runs of rising times, in memory of exactly the size that records_sort asks for. */
static void sort(size_t n, size_t runs)
{
    struct perf_sample *rows = block(n * sizeof *rows);
    struct records_key *scratch = block(2 * n * sizeof *scratch);

    for (size_t i = 0; i < n; i++)
        rows[i].time = i % (n / runs + 1);
    records_sort(rows, n, scratch);
    for (size_t i = 1; i < n; i++)
        CHECK(rows[i - 1].time <= rows[i].time);
    free(rows);
    free(scratch);
}

int main(void)
{
    for (size_t n = 120; n < 270; n++)
        for (size_t room = n - 100; room <= n + 200; room += 100) {
            copy_column(n, room, PERF_SAMPLE_IP);
            copy_column(n, room, PERF_SAMPLE_CALLCHAIN);
        }
    for (size_t n = 5150; n < 5250; n++) /* here the memory begins to be enough for sorting two runs by blocks */
        sort(n, 2);
    for (size_t runs = 1; runs < 12; runs++) {
        sort(20000 + runs, runs);
        sort(10 * runs, runs);
    }
    return 0;
}
