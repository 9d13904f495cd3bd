#include "samples.h"

#include "internal.h"

/* A merge sort that begins with the runs that are there: rings are in order each, so 64 rings are 64 runs. The times are
 * sorted apart from the rows, together with the rows' indices; then every row is moved once. */

/* The end of the run of rising times that begins at `begin`. */
static size_t run_end(const struct records_key *keys, size_t begin, size_t n)
{
    size_t end = begin + 1;

    while (end < n && keys[end - 1].time <= keys[end].time)
        end++;
    return end;
}

/* Merge from[begin .. middle) and from[middle .. end) into to[begin .. end); of equal times those of the first come
 * first. Without a branch that depends on the times: which run is next cannot be predicted. */
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

/* Merge neighbouring runs of `from` into `to`. Returns how many runs are left. */
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

/* Put row keys[i].index at place i, for all i: along the cycles of the permutation, each row is moved once. What is
 * moved next is fetched ahead, since it is anywhere. */
static void permute(struct perf_sample *rows, struct records_key *keys, size_t n)
{
    enum { AHEAD = 4, LINE = 64 };

    for (size_t start = 0; start < n; start++) {
        struct perf_sample first;
        size_t hole = start, ahead = start;
        if (keys[start].index == start)
            continue;
        first = rows[start];
        for (int i = 0; i < AHEAD; i++)
            ahead = (size_t)keys[ahead].index;
        for (size_t next; (next = (size_t)keys[hole].index) != start; hole = next) {
            for (size_t line = 0; line < sizeof *rows; line += LINE)
                __builtin_prefetch((const char *)(rows + ahead) + line, 1);
            ahead = (size_t)keys[ahead].index;
            rows[hole] = rows[next];
            keys[hole].index = hole;
        }
        rows[hole] = first;
        keys[hole].index = hole;
    }
}

void records_sort(struct perf_sample *rows, size_t n, struct records_key *scratch)
{
    struct records_key *keys = scratch, *merged = scratch + n;
    size_t runs = 1;

    for (size_t i = 0; i < n; i++) {
        keys[i] = (struct records_key){rows[i].time, i};
        runs += i && rows[i].time < rows[i - 1].time;
    }
    while (runs > 1) {
        struct records_key *swapped = keys;
        runs = merge_runs(keys, merged, n);
        keys = merged;
        merged = swapped;
    }
    permute(rows, keys, n);
}
