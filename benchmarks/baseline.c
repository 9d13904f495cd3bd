/* The work of the benchmarks in plain C. Each function returns the nanoseconds that all of its work took. */
#define _GNU_SOURCE
#include <linux/perf_event.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

int64_t open_close(void *attr, int n)
{
    const int64_t start = now();

    for (int i = 0; i < n; i++)
        close((int)syscall(__NR_perf_event_open, attr, 0, -1, -1, 8UL));
    return now() - start;
}

/* Open `n` events and leave them open. */
int64_t open_many(void *attr, int *fds, int n)
{
    const int64_t start = now();

    for (int i = 0; i < n; i++)
        fds[i] = (int)syscall(__NR_perf_event_open, attr, 0, -1, -1, 8UL);
    return now() - start;
}

int64_t read_many(const int *fds, int nfds, size_t size, uint64_t *out, int n)
{
    const int64_t start = now();

    for (int i = 0; i < n; i++)
        for (int j = 0; j < nfds; j++)
            if (read(fds[j], out + (size_t)j * size / 8, size) != (ssize_t)size)
                return -1;
    return now() - start;
}

int64_t copy(void *to, const void *from, size_t size)
{
    const int64_t start = now();

    memcpy(to, from, size);
    __asm__ volatile("" : : "r"(to) : "memory");
    return now() - start;
}

/* Drain `n` rings of `size` bytes, each `offset` bytes after its control page, into `to`. */
int64_t drain_many(void **pages, int n, size_t offset, size_t size, char *to)
{
    const int64_t start = now();

    for (int i = 0; i < n; i++) {
        struct perf_event_mmap_page *page = pages[i];
        const uint64_t head = __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE), tail = page->data_tail;
        const size_t waiting = (size_t)(head - tail), at = (size_t)(tail & (size - 1));
        const size_t first = waiting < size - at ? waiting : size - at;
        memcpy(to, (char *)page + offset + at, first);
        memcpy(to + first, (char *)page + offset, waiting - first);
        __atomic_store_n(&page->data_tail, head, __ATOMIC_RELEASE);
        to += waiting;
    }
    return now() - start;
}
