#include "internal.h"
#include "samples.h"

/* A merge sort that starts from the runs (stretches of rising times) that the rows already have. The records of each
 * ring are in order, so that the rows of 64 rings are about 64 runs. First only keys are sorted, each the time and the
 * index of a row; then every row is moved to its place. */

/* The index after the last key of the run of rising times that begins at `begin`. */
static size_t run_end(const struct records_key *keys, size_t begin, size_t n)
{
    size_t end = begin + 1;

    while (end < n && keys[end - 1].time <= keys[end].time)
        end++;
    return end;
}

/* Merge from[begin .. middle) and from[middle .. end) into to[begin .. end). Of equal times, those of the first run
 * come first. No branch depends on the times: the CPU could not predict which run the next key comes from. */
static void merge(const struct records_key *from, struct records_key *to, size_t begin, size_t middle, size_t end)
{
    size_t a = begin, b = middle, at = begin;

    while (a < middle && b < end) {
        const size_t second = from[b].time < from[a].time;
        to[at++] = from[second ? b : a];
        b += second;
        a += 1 - second;
    }
    memcpy(to + at, from + a, (middle - a) * sizeof *to);
    memcpy(to + at + (middle - a), from + b, (end - b) * sizeof *to);
}

/* Merge the first run of `from` with the second into `to`, the third with the fourth, and so on. Returns how many runs
 * `to` has. */
static size_t merge_runs(const struct records_key *from, struct records_key *to, size_t n)
{
    size_t runs = 0;

    for (size_t begin = 0, middle, end; begin < n; begin = end, runs++) {
        middle = run_end(from, begin, n);
        end = middle < n ? run_end(from, middle, n) : middle;
        merge(from, to, begin, middle, end);
    }
    return runs;
}

/* Move row keys[i].index to index i, for all i. It goes along the cycles of the permutation, so that each row is moved
 * once. */
static void permute_rows(struct perf_sample *rows, struct records_key *keys, size_t n)
{
    for (size_t start = 0; start < n; start++) {
        struct perf_sample first;
        size_t hole = start;
        if (keys[start].index == start)
            continue;
        first = rows[start];
        for (size_t next; (next = (size_t)keys[hole].index) != start; hole = next) {
            rows[hole] = rows[next];
            keys[hole].index = hole;
        }
        rows[hole] = first;
        keys[hole].index = hole;
    }
}

/* Moving single rows between far-apart places of a large array is slow, as each is a cache miss. If the rows are few
 * runs, there is a faster way in two steps, by blocks of 64 rows. gather() takes the rows in their sorted order; it
 * thereby reads each run from its start to its end. It writes full blocks of sorted rows over blocks of the array that
 * it has read completely. order_blocks() then moves the blocks, which are large enough to be moved fast, to their
 * places. At any time each run can have two blocks that are read in part and cannot be written yet; so many spare
 * blocks are needed. */
enum { BLOCK = 64 };

struct blocks {
    struct perf_sample *rows, *spare;
    size_t n;           /* how many whole blocks `rows` has; the number of spare block i is n + i */
    uint32_t *now_at;   /* now_at[i]: the number of the block where block i of the sorted rows is now */
    uint32_t *free;     /* the numbers of blocks that can be written: never more than there are spare blocks */
    size_t n_free;
    uint8_t *read;      /* read[i]: how many rows of block i have been read */
};

static struct perf_sample *block_at(const struct blocks *b, size_t block)
{
    return block < b->n ? b->rows + block * BLOCK : b->spare + (block - b->n) * BLOCK;
}

static void gather(struct blocks *b, const struct records_key *keys, size_t n)
{
    struct perf_sample *to = NULL;

    for (size_t i = 0; i < n; i++) {
        const size_t row = (size_t)keys[i].index, block = row / BLOCK;
        if (i % BLOCK == 0) {
            b->now_at[i / BLOCK] = b->free[--b->n_free];
            to = block_at(b, b->now_at[i / BLOCK]);
        }
        if (i + 8 < n)
            for (size_t line = 0; line < sizeof *b->rows; line += 64)
                __builtin_prefetch((const char *)(b->rows + keys[i + 8].index) + line);
        to[i % BLOCK] = b->rows[row];
        if (block < b->n && ++b->read[block] == BLOCK)
            b->free[b->n_free++] = (uint32_t)block;
    }
}

/* Move the block that belongs at `hole` to there. That leaves a new hole: move the block that belongs there, and so on,
 * until the hole is a spare block, or until block `until` belongs at the hole. Returns the last hole. */
static size_t fill_holes(struct blocks *b, size_t hole, size_t until)
{
    while (hole < b->n && b->now_at[hole] != until) {
        const size_t from = b->now_at[hole];
        memcpy(block_at(b, hole), block_at(b, from), BLOCK * sizeof *b->rows);
        b->now_at[hole] = (uint32_t)hole;
        hole = from;
    }
    return hole;
}

static void order_blocks(struct blocks *b, size_t n_rows)
{
    const size_t rest = n_rows % BLOCK;

    if (rest) /* the last `rest` rows are no whole block: gather() has written nothing there */
        memcpy(b->rows + b->n * BLOCK, block_at(b, b->now_at[b->n]), rest * sizeof *b->rows);
    for (size_t i = 0; i < b->n_free; i++)
        fill_holes(b, b->free[i], SIZE_MAX);
    if (rest)
        fill_holes(b, b->now_at[b->n], SIZE_MAX);
    for (size_t start = 0; start < b->n; start++) {
        struct perf_sample *kept = block_at(b, b->n);
        size_t hole;
        if (b->now_at[start] == start)
            continue;
        memcpy(kept, block_at(b, start), BLOCK * sizeof *kept);
        hole = fill_holes(b, start, start);
        memcpy(block_at(b, hole), kept, BLOCK * sizeof *kept);
        b->now_at[hole] = (uint32_t)hole;
    }
}

/* As permute_rows, but by blocks, for which it uses `size` bytes at `memory`. Returns 1; or 0, with nothing moved, if
 * these are too few for so many runs. */
static int permute_blocks(struct perf_sample *rows, const struct records_key *keys, size_t n, size_t runs, void *memory,
                          size_t size)
{
    const size_t blocks = n / BLOCK, spare = 2 * runs + 2;
    const size_t needed = spare * BLOCK * sizeof *rows + (blocks + 1 + spare) * sizeof(uint32_t) + blocks;
    struct blocks b = {rows, memory, blocks, NULL, NULL, spare, NULL};

    if (size < needed || blocks + spare > UINT32_MAX)
        return 0;
    b.now_at = (uint32_t *)(void *)(b.spare + spare * BLOCK);
    b.free = b.now_at + blocks + 1;
    b.read = (uint8_t *)(b.free + spare);
    memset(b.read, 0, blocks);
    for (size_t i = 0; i < spare; i++)
        b.free[i] = (uint32_t)(blocks + i);
    gather(&b, keys, n);
    order_blocks(&b, n);
    return 1;
}

void records_sort(struct perf_sample *rows, size_t n, struct records_key *scratch)
{
    struct records_key *keys = scratch, *merged = scratch + n;
    size_t runs = 1, left;

    for (size_t i = 0; i < n; i++) {
        keys[i] = (struct records_key){rows[i].time, i};
        runs += i && keys[i].time < keys[i - 1].time; /* of the keys, which nobody else can change */
    }
    for (left = runs; left > 1;) {
        struct records_key *swapped = keys;
        left = merge_runs(keys, merged, n);
        keys = merged;
        merged = swapped;
    }
    if (runs > 1 && !permute_blocks(rows, keys, n, runs, merged, n * sizeof *merged))
        permute_rows(rows, keys, n);
}
