/* What ring_snapshot gives of a ring that the kernel writes to meanwhile. The kernel is the two hooks below: it writes
 * records as the copy is made, or moves data_head as ring_snapshot looks whether it stands still. Exit status 0: all is
 * as expected. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *copy_and_write(void *to, const void *from, size_t size);
static uint64_t load_and_move(const uint64_t *position);

#define memcpy(to, from, size) copy_and_write(to, from, size)
#define __atomic_load_n(position, order) load_and_move(position)
#include "ring.c"
#undef memcpy

static struct perf_event_mmap_page *page;
static size_t ring_size;
static uint32_t newest;      /* the number in the record that was written last */
static size_t during_copy;   /* records that the kernel writes during the next copy */
static size_t record_length; /* of these */
static int loads_until_move; /* loads of the head before the kernel stores another; 0: it does not */
static uint64_t moved_head;

/* Write a record below the head, every word of its body its number, as the kernel does with attr.write_backward. */
static void write_record(size_t length)
{
    const uint64_t head = page->data_head - length, words = length / 8;
    struct perf_event_header header = {.type = PERF_RECORD_LOST, .size = (uint16_t)length};
    char *data = (char *)page + page->data_offset;

    newest++;
    for (uint64_t word = 0; word < words; word++) {
        const uint64_t number = newest;
        const void *from = word ? (const void *)&number : (const void *)&header;
        memmove(data + ((head + 8 * word) & (ring_size - 1)), from, 8);
    }
    page->data_head = head;
}

static void *copy_and_write(void *to, const void *from, size_t size)
{
    memmove(to, from, size);
    if (size > sizeof(uint64_t)) /* not a header's field */
        for (; during_copy; during_copy--)
            write_record(record_length);
    return to;
}

static uint64_t load_and_move(const uint64_t *position)
{
    if (loads_until_move && --loads_until_move == 0)
        page->data_head = moved_head;
    return *position;
}

/* Begin anew: a ring that the kernel has written `written` records to. */
static void begin(size_t written, size_t length)
{
    memset(page, 0, (size_t)sysconf(_SC_PAGESIZE));
    page->data_offset = (uint64_t)sysconf(_SC_PAGESIZE);
    page->data_size = ring_size;
    newest = 0;
    loads_until_move = 0;
    record_length = length;
    for (size_t i = 0; i < written; i++)
        write_record(length);
}

/* Take a snapshot while `writes` records are written: it must have the `expected` records that were the newest. */
static void expect(int line, size_t writes, size_t length, size_t expected)
{
    static char buffer[1 << 20];
    const uint32_t first = newest;
    long size, at = 0;

    during_copy = writes;
    record_length = length;
    size = ring_snapshot_sized(page, ring_size, buffer, ring_size);
    for (uint32_t number = first; at < size; number--) {
        struct perf_event_header header;
        uint64_t word;
        memmove(&header, buffer + at, sizeof header);
        memmove(&word, buffer + at + 8, sizeof word);
        if (word != number) {
            fprintf(stderr, "line %d: record %llu where %u is expected\n", line, (unsigned long long)word, number);
            exit(1);
        }
        expected--;
        at += header.size;
    }
    if (size < 0 || expected) {
        fprintf(stderr, "line %d: %ld bytes, %zd records too few\n", line, size, (ssize_t)expected);
        exit(1);
    }
}

int main(void)
{
    ring_size = (size_t)sysconf(_SC_PAGESIZE);
    const size_t full = ring_size / 64;

    if (posix_memalign((void **)&page, ring_size, 2 * ring_size))
        return 1;
    /* Nobody writes: everything. */
    begin(3 * full, 64);
    expect(__LINE__, 0, 64, full);
    begin(5, 64);
    expect(__LINE__, 0, 64, 5);
    /* Records are overwritten during the copy: those are left out, and the next, which may be half overwritten. */
    for (size_t writes = 1; writes < full - 1; writes++) {
        begin(3 * full, 64);
        expect(__LINE__, writes, 64, full - writes - 1);
    }
    /* Where that would leave nothing, the newest record is given: it is not known to be overwritten. */
    begin(3 * full, 64);
    expect(__LINE__, full - 1, 64, 1);
    /* All were overwritten, once or often. */
    for (size_t writes = full; writes < 3 * full; writes++) {
        begin(3 * full, 64);
        expect(__LINE__, writes, 64, 0);
    }
    /* A ring that is not full has room: what is written then replaces nothing. */
    begin(5, 64);
    expect(__LINE__, full - 6, 64, 5);
    begin(full - 1, 64);
    expect(__LINE__, 1, 64, full - 2);
    /* The record that may be half written is as large as the largest, here the newest, not the oldest. */
    begin(3 * full, 64);
    write_record(512);
    expect(__LINE__, 1, 64, full - 8 + 1 - 1 - 8);
    begin(3 * full, 64);
    write_record(512);
    write_record(64);
    expect(__LINE__, 1, 64, full - 9 + 2 - 1 - 8);
    /* The head stands during the copy and moves a little later: a record was being written. */
    for (int loads = 3; loads < 10000; loads += 97) {
        begin(3 * full, 64);
        loads_until_move = loads;
        moved_head = page->data_head - 64;
        expect(__LINE__, 0, 64, full - 1);
    }
    return 0;
}
