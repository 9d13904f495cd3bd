#include "counters.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The kernel lets no event or group be read in more than this (perf_event_validate_size). */
enum { LARGEST_READ = 16 * 1024 };

static int failed(int error)
{
    errno = error;
    return -1;
}

/* The words of a read_format: of the two times, and of one member. */
static size_t times_of(uint64_t read_format)
{
    return (read_format & PERF_FORMAT_TOTAL_TIME_ENABLED ? 1u : 0u) +
           (read_format & PERF_FORMAT_TOTAL_TIME_RUNNING ? 1u : 0u);
}

static size_t member_of(uint64_t read_format)
{
    return 1u + (read_format & PERF_FORMAT_ID ? 1u : 0u) + (read_format & PERF_FORMAT_LOST ? 1u : 0u);
}

size_t counters_size(uint64_t read_format, size_t nr)
{
    const size_t count = read_format & PERF_FORMAT_GROUP ? 1u : 0u;
    return (count + times_of(read_format) + nr * member_of(read_format)) * sizeof(uint64_t);
}

static uint64_t take(const char **next)
{
    uint64_t word;

    memcpy(&word, *next, sizeof word);
    *next += sizeof word;
    return word;
}

/* Whether `words` words hold the times and `nr` members. Zeroes may follow: Linux 6.1 reads a sibling whose leader was
 * closed in the size that the group had. */
static int is_group(const char *next, size_t words, size_t times, size_t member, uint64_t nr)
{
    if (nr == 0 || words < times || nr > (words - times) / member)
        return 0;
    next += (times + (size_t)nr * member) * sizeof(uint64_t);
    for (size_t rest = words - times - (size_t)nr * member; rest > 0; rest--)
        if (take(&next))
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
        return failed(EBADMSG);
    value = take(&next);
    if (group)
        nr = value;
    if (group ? !is_group(next, words - 1, times, member, nr) : words != times + member)
        return failed(EBADMSG);
    if (read_format & PERF_FORMAT_TOTAL_TIME_ENABLED)
        enabled = take(&next);
    if (read_format & PERF_FORMAT_TOTAL_TIME_RUNNING)
        running = take(&next);
    for (size_t i = 0; i < nr && i < n; i++) {
        struct perf_counts counts = {value, enabled, running, 0, 0};
        if (group)
            counts.value = take(&next);
        if (read_format & PERF_FORMAT_ID)
            counts.id = take(&next);
        if (read_format & PERF_FORMAT_LOST)
            counts.lost = take(&next);
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
            return failed(ENODATA);
        if ((size_t)nr > n - filled)
            return failed(ENOBUFS);
        filled += (size_t)nr;
    }
    return (long)filled;
}

/* Each is read into its own element, and spread out there when all are read: to look at once at what the kernel has
 * just copied costs more than the copying. */
static long read_singles(const int *fds, size_t nfds, uint64_t read_format, struct perf_counts *out, size_t n,
                         size_t *done)
{
    const ssize_t expected = (ssize_t)counters_size(read_format, 1);

    for (*done = 0; *done < nfds; ++*done) {
        ssize_t size;
        if (*done == n)
            return failed(ENOBUFS);
        size = read(fds[*done], out + *done, sizeof *out);
        if (size != expected)
            return size < 0 ? -1 : failed(size ? EBADMSG : ENODATA);
    }
    for (size_t i = 0; i < nfds; i++)
        counters_parse(out + i, (size_t)expected, read_format, out + i, 1);
    return (long)nfds;
}

long counters_read_many(const int *fds, size_t nfds, uint64_t read_format, struct perf_counts *out, size_t n,
                        size_t *failed_at)
{
    *failed_at = 0;
    if (read_format >= PERF_FORMAT_MAX)
        return failed(EBADMSG);
    return (read_format & PERF_FORMAT_GROUP ? read_groups : read_singles)(fds, nfds, read_format, out, n, failed_at);
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

#if defined(__x86_64__) || defined(__i386__)

enum { HAS_USER_READ = 1 };

static uint64_t read_pmc(uint32_t counter)
{
    uint32_t low, high;

    __asm__ volatile("rdpmc" : "=a"(low), "=d"(high) : "c"(counter));
    return (uint64_t)high << 32 | low;
}

static uint64_t read_cycles(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

#elif defined(__aarch64__) || (defined(__riscv) && __riscv_xlen == 64)

enum { HAS_USER_READ = 1 };

#define EACH_COUNTER(X)                                                                                                \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)                              \
    X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30)

#ifdef __aarch64__
#define READ_COUNTER(n) case n: __asm__ volatile("mrs %0, pmevcntr" #n "_el0" : "=r"(value)); break;
#define READ_LAST_COUNTER __asm__ volatile("mrs %0, pmccntr_el0" : "=r"(value))
#define READ_CLOCK __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(value) : : "memory")
#else
#define READ_COUNTER(n) case n: __asm__ volatile("csrr %0, 0xc00 + " #n : "=r"(value)); break;
#define READ_LAST_COUNTER __asm__ volatile("csrr %0, 0xc1f" : "=r"(value))
#define READ_CLOCK __asm__ volatile("csrr %0, 0xc01" : "=r"(value))
#endif

/* The register's number is part of the instruction; 31 is arm64's cycle counter. */
static uint64_t read_pmc(uint32_t counter)
{
    uint64_t value = 0;

    switch (counter) {
        EACH_COUNTER(READ_COUNTER)
    case 31:
        READ_LAST_COUNTER;
        break;
    }
    return value;
}

static uint64_t read_cycles(void)
{
    uint64_t value;

    READ_CLOCK;
    return value;
}

#else

enum { HAS_USER_READ = 0 };

static uint64_t read_pmc(uint32_t counter)
{
    return counter;
}

static uint64_t read_cycles(void)
{
    return 0;
}

#endif

/* cycles * mult >> shift in 96 bits, as the kernel's mul_u64_u32_shr. */
static uint64_t scale_cycles(uint64_t cycles, uint32_t mult, unsigned shift)
{
    const uint64_t low = (cycles & 0xffffffffu) * mult, high = (cycles >> 32) * mult;

    if (shift <= 32)
        return (low >> shift) + (high << (32 - shift));
    return shift < 96 ? ((low >> 32) + high) >> (shift - 32) : 0;
}

void counters_from_user(const struct perf_user_read *in, struct perf_counts *out)
{
    uint64_t value = (uint64_t)in->offset, enabled = in->time_enabled, running = in->time_running;

    if (in->index && in->pmc_width && in->pmc_width <= 64) {
        const uint64_t sign = UINT64_C(1) << (in->pmc_width - 1);
        const uint64_t bits = in->pmc & (sign | (sign - 1));
        value += (bits ^ sign) - sign;
    }
    /* A page with equal times and no counter is of an event that is switched off: its clock stands. */
    if (in->cap_user_time && (in->index || enabled != running)) {
        uint64_t cycles = in->cycles, delta;
        if (in->cap_user_time_short)
            cycles = in->time_cycles + ((cycles - in->time_cycles) & in->time_mask);
        delta = in->time_offset + scale_cycles(cycles, in->time_mult, in->time_shift);
        enabled += delta;
        if (in->index)
            running += delta;
    }
    *out = (struct perf_counts){value, enabled, running, 0, 0};
}

int counters_read_user(const struct perf_event_mmap_page *page, struct perf_counts *out)
{
    const volatile struct perf_event_mmap_page *p = page;
    struct perf_user_read in;
    uint32_t lock;

    if (!HAS_USER_READ)
        return 0;
    /* The kernel writes the page on this thread's own CPU (perf_event_update_userpage): the compiler's order is enough. */
    do {
        lock = p->lock;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        if (!p->cap_user_rdpmc)
            return 0;
        in.cap_user_time = p->cap_user_time;
        in.cap_user_time_short = p->cap_user_time_short;
        in.time_enabled = p->time_enabled;
        in.time_running = p->time_running;
        in.time_offset = p->time_offset;
        in.time_cycles = p->time_cycles;
        in.time_mask = p->time_mask;
        in.time_mult = p->time_mult;
        in.time_shift = p->time_shift;
        in.offset = p->offset;
        in.index = p->index;
        in.pmc_width = p->pmc_width;
        in.cycles = in.cap_user_time ? read_cycles() : 0;
        in.pmc = in.index ? read_pmc(in.index - 1) : 0;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
    } while (p->lock != lock);
    counters_from_user(&in, out);
    return 1;
}
