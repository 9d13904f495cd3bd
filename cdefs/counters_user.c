/* Reading a counter from user space: each architecture's instructions, the arithmetic, the loop that reads the mapped
 * control page. */
#include "internal.h"
#include "counters.h"

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

/* The number of the register is part of the instruction, hence one case for each. 31 is arm64's cycle counter. */
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

/* Return cycles * mult >> shift as the kernel's mul_u64_u32_shr does: the product has 96 bits and is not truncated
 * before the shift. */
static uint64_t scale_cycles(uint64_t cycles, uint32_t mult, unsigned shift)
{
    const uint64_t low = (cycles & 0xffffffffu) * mult, high = (cycles >> 32) * mult;

    if (shift <= 32)
        return (low >> shift) + (high << (32 - shift));
    return shift < 96 ? ((low >> 32) + high) >> (shift - 32) : 0;
}

void counters_compute_user(const struct perf_user_read *in, struct perf_counts *out)
{
    uint64_t value = (uint64_t)in->offset, enabled = in->time_enabled, running = in->time_running;

    if (in->index && in->pmc_width && in->pmc_width <= 64) {
        const uint64_t sign = UINT64_C(1) << (in->pmc_width - 1);
        const uint64_t bits = in->pmc & (sign | (sign - 1));
        value += (bits ^ sign) - sign;
    }
    /* index is 0 while the event has no hardware counter. If its two times are equal then, it is disabled, and its
     * times do not advance. */
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
    /* perf_event_update_userpage runs on the CPU of the thread that the event counts, which is the thread that reads
     * here: only the compiler could reorder these loads, not another CPU, so that signal fences are enough. */
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
    counters_compute_user(&in, out);
    return 1;
}
