#include "internal.h"
#include "counters.h"

#include <unistd.h>

/* The most bytes that one read(2) of an event or a group returns: perf_event_validate_size refuses larger groups. */
enum { LARGEST_READ = 16 * 1024 };

/* How many of the two times a read_format has. */
static size_t times_of(uint64_t read_format)
{
    return (read_format & PERF_FORMAT_TOTAL_TIME_ENABLED ? 1u : 0u) +
           (read_format & PERF_FORMAT_TOTAL_TIME_RUNNING ? 1u : 0u);
}

/* How many words a read_format has for each member of a group: its value, id and lost count. */
static size_t member_of(uint64_t read_format)
{
    return 1u + (read_format & PERF_FORMAT_ID ? 1u : 0u) + (read_format & PERF_FORMAT_LOST ? 1u : 0u);
}

size_t counters_size(uint64_t read_format, size_t nr)
{
    const size_t count = read_format & PERF_FORMAT_GROUP ? 1u : 0u;
    return (count + times_of(read_format) + nr * member_of(read_format)) * sizeof(uint64_t);
}

/* True if the `words` words from `next` on are `times` times, `nr` members of `member` words, and nothing but zeroes
 * after them. The zeroes occur: after a group's leader was closed, Linux 6.1 still returns as many bytes for a sibling
 * as it did for the whole group. */
static int is_group(const char *next, size_t words, size_t times, size_t member, uint64_t nr)
{
    if (nr == 0 || words < times || nr > (words - times) / member)
        return 0;
    next += (times + (size_t)nr * member) * sizeof(uint64_t);
    for (size_t rest = words - times - (size_t)nr * member; rest > 0; rest--)
        if (next_word(&next))
            return 0;
    return 1;
}

int counters_parse(const void *data, size_t size, uint64_t read_format, struct perf_counts *out, size_t n)
{
    const int group = (read_format & PERF_FORMAT_GROUP) != 0;
    const size_t times = times_of(read_format), member = member_of(read_format), words = size / sizeof(uint64_t);
    const char *next = data;
    uint64_t nr = 1, value = 0, enabled = 0, running = 0;

    if (read_format >= PERF_FORMAT_MAX || size % sizeof(uint64_t) || words < times + 1)
        return fail(EBADMSG);
    value = next_word(&next);
    if (group)
        nr = value;
    if (group ? !is_group(next, words - 1, times, member, nr) : words != times + member)
        return fail(EBADMSG);
    if (read_format & PERF_FORMAT_TOTAL_TIME_ENABLED)
        enabled = next_word(&next);
    if (read_format & PERF_FORMAT_TOTAL_TIME_RUNNING)
        running = next_word(&next);
    for (size_t i = 0; i < nr && i < n; i++) {
        struct perf_counts counts = {value, enabled, running, 0, 0};
        if (group)
            counts.value = next_word(&next);
        if (read_format & PERF_FORMAT_ID)
            counts.id = next_word(&next);
        if (read_format & PERF_FORMAT_LOST)
            counts.lost = next_word(&next);
        out[i] = counts;
    }
    return (int)nr;
}

int counters_read(int fd, uint64_t read_format, struct perf_counts *out, size_t n)
{
    uint64_t data[LARGEST_READ / sizeof(uint64_t)];
    ssize_t size = read(fd, data, sizeof data);

    if (size <= 0)
        return (int)size;
    return counters_parse(data, (size_t)size, read_format, out, n);
}

static long read_groups(const int *fds, size_t nfds, uint64_t read_format, struct perf_counts *out, size_t n,
                        size_t *done)
{
    size_t filled = 0;

    for (*done = 0; *done < nfds; ++*done) {
        int nr = counters_read(fds[*done], read_format, out + filled, n - filled);
        if (nr < 0)
            return -1;
        if (nr == 0)
            return fail(ENODATA);
        if ((size_t)nr > n - filled)
            return fail(ENOBUFS);
        filled += (size_t)nr;
    }
    return (long)filled;
}

/* Read events without PERF_FORMAT_GROUP. First the bytes of every event are read into its own element of `out`, then
 * all elements are decoded in place: decoding each right after its read(2) would wait for the bytes that the kernel has
 * just stored. */
static long read_singles(const int *fds, size_t nfds, uint64_t read_format, struct perf_counts *out, size_t n,
                         size_t *done)
{
    const ssize_t expected = (ssize_t)counters_size(read_format, 1);
    int error = 0;

    for (*done = 0; *done < nfds; ++*done) {
        ssize_t size;
        if (*done == n) {
            error = ENOBUFS;
            break;
        }
        size = read(fds[*done], out + *done, sizeof *out);
        if (size != expected) {
            error = size < 0 ? errno : size > 0 ? EBADMSG : ENODATA;
            break;
        }
    }
    for (size_t i = 0; i < *done; i++)
        counters_parse(out + i, (size_t)expected, read_format, out + i, 1);
    return error ? fail(error) : (long)nfds;
}

long counters_read_many(const int *fds, size_t nfds, uint64_t read_format, struct perf_counts *out, size_t n,
                        size_t *failed_at)
{
    *failed_at = 0;
    if (read_format >= PERF_FORMAT_MAX)
        return fail(EBADMSG);
    return (read_format & PERF_FORMAT_GROUP ? read_groups : read_singles)(fds, nfds, read_format, out, n, failed_at);
}

int counters_scale(const struct perf_counts *counts, uint64_t scaled[2])
{
    const uint64_t v = counts->value, e = counts->time_enabled, divisor = counts->time_running;
    uint64_t low = v, high = 0, rest = 0;

    if (divisor == 0 && e != 0)
        return 0;
    if (divisor != e) {
        /* 32-bit machines have no 128-bit type: multiply by halves of 32 bits, then divide bit by bit. */
        const uint64_t a = v >> 32, b = v & 0xffffffffu, c = e >> 32, d = e & 0xffffffffu;
        const uint64_t middle = a * d + ((b * d) >> 32), carry = b * c + (middle & 0xffffffffu);
        high = a * c + (middle >> 32) + (carry >> 32);
        low = (carry << 32) | ((b * d) & 0xffffffffu);
        for (int bit = 0; bit < 128; bit++) {
            const uint64_t overflow = rest >> 63;
            rest = (rest << 1) | (high >> 63);
            high = (high << 1) | (low >> 63);
            low <<= 1;
            if (overflow || rest >= divisor) {
                rest -= divisor;
                low |= 1;
            }
        }
    }
    scaled[0] = low;
    scaled[1] = high;
    return 1;
}
