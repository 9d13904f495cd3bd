#include "counters.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The kernel lets no event or group be read in more than this (perf_event_validate_size). */
enum { LARGEST_READ = 16 * 1024 };

static int bad_format(void)
{
    errno = EBADMSG;
    return -1;
}

int counters_parse(const void *data, size_t size, uint64_t read_format, struct perf_counts *out, size_t n)
{
    const int group = (read_format & PERF_FORMAT_GROUP) != 0;
    const size_t times = (read_format & PERF_FORMAT_TOTAL_TIME_ENABLED ? 1u : 0u) +
                         (read_format & PERF_FORMAT_TOTAL_TIME_RUNNING ? 1u : 0u);
    const size_t member = 1u + (read_format & PERF_FORMAT_ID ? 1u : 0u) + (read_format & PERF_FORMAT_LOST ? 1u : 0u);
    const size_t words = size / sizeof(uint64_t);
    const char *next = data;
    uint64_t nr = 1, value = 0, enabled = 0, running = 0;

#define TAKE(field) (memcpy(&(field), next, sizeof(uint64_t)), next += sizeof(uint64_t))
    if (read_format >= PERF_FORMAT_MAX || size % sizeof(uint64_t) || words < times + 1)
        return bad_format();
    TAKE(value);
    if (group)
        nr = value;
    if (group ? (words - 1 - times) % member || nr != (words - 1 - times) / member : words != times + member)
        return bad_format();
    if (read_format & PERF_FORMAT_TOTAL_TIME_ENABLED)
        TAKE(enabled);
    if (read_format & PERF_FORMAT_TOTAL_TIME_RUNNING)
        TAKE(running);
    for (size_t i = 0; i < nr && i < n; i++) {
        struct perf_counts counts = {value, enabled, running, 0, 0};
        if (group)
            TAKE(counts.value);
        if (read_format & PERF_FORMAT_ID)
            TAKE(counts.id);
        if (read_format & PERF_FORMAT_LOST)
            TAKE(counts.lost);
        out[i] = counts;
    }
#undef TAKE
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

long counters_read_many(const int *fds, size_t nfds, uint64_t read_format, struct perf_counts *out, size_t n,
                        size_t *failed)
{
    size_t filled = 0;

    for (size_t i = 0; i < nfds; i++) {
        int nr = counters_read(fds[i], read_format, out + filled, n - filled);
        if (nr <= 0 || (size_t)nr > n - filled) {
            if (nr >= 0)
                errno = nr ? ENOBUFS : ENODATA;
            *failed = i;
            return -1;
        }
        filled += (size_t)nr;
    }
    return (long)filled;
}

int counters_scale(const struct perf_counts *counts, uint64_t scaled[2])
{
    const uint64_t v = counts->value, e = counts->time_enabled, divisor = counts->time_running;
    uint64_t low = v, high = 0, rest = 0;

    if (divisor == 0 && e != 0)
        return 0;
    if (divisor != e) {
        /* 64 x 64 bits by halves, then a long division by bits: no 128-bit type on 32-bit machines. */
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
