/* The capture loop of examples/c-adjacent/cython in C, with the functions linked in: no table, no Python. */
#define _GNU_SOURCE
#include "internal.h"
#include "perf_event_open_sys.h"

#include <poll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, DATA_PAGES = 8 };

static long drain(int fd, struct perf_event_mmap_page *page, volatile char *area, size_t pages, size_t page_size,
                  char *buffer, size_t size)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    long total = 0;

    for (size_t touched = 0; touched < pages; touched += BATCH) {
        for (size_t i = touched; i < touched + BATCH && i < pages; i++)
            area[i * page_size] = 1;
        if (poll(&polled, 1, 1000) < 0)
            return -1;
        const long taken = ring_read(page, buffer + total, size - (size_t)total);
        if (taken < 0)
            return -1;
        total += taken;
    }
    return total;
}

static long capture(size_t pages, char *buffer, size_t size, struct perf_sample *samples, size_t n,
                    struct records_key *keys)
{
    const size_t page_size = (size_t)sysconf(_SC_PAGESIZE), mapped = (1 + DATA_PAGES) * page_size;
    struct perf_event_attr attr = {
        .type = PERF_TYPE_SOFTWARE,
        .config = PERF_COUNT_SW_PAGE_FAULTS,
        .size = sizeof attr,
        .sample_period = 1,
        .wakeup_events = 1,
        .exclude_kernel = 1,
        .sample_type = PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR,
    };
    const struct records_event event = {0, &attr};
    size_t consumed, done;
    long found = -1;
    void *const area = mmap(NULL, pages * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const int fd = perf_event_open(&attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    void *const page = fd >= 0 ? ring_map(fd, mapped, 0, 1) : NULL;

    if (area != MAP_FAILED && page) {
        found = drain(fd, page, area, pages, page_size, buffer, size);
        if (found >= 0)
            found = records_parse(buffer, (size_t)found, &event, 1, samples, n, &consumed, &done);
        if (found > 0)
            records_sort(samples, (size_t)found, keys);
    }
    if (page)
        ring_unmap(page, mapped);
    if (fd >= 0)
        close(fd);
    if (area != MAP_FAILED)
        munmap(area, pages * page_size);
    return found;
}

/* Capture `repeat` times into memory of the caller; return the samples of the last time, or -1. */
long capture_many(size_t pages, size_t repeat, char *buffer, size_t size, struct perf_sample *samples, size_t n,
                  struct records_key *keys)
{
    long found = 0;

    while (repeat-- > 0 && found >= 0)
        found = capture(pages, buffer, size, samples, n, keys);
    return found;
}
