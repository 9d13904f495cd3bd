# cython: language_level=3
"""Capture page faults in Cython: open, map, poll, drain, decode, sort; all without the GIL and without a Python call."""

cimport perf_event_open_sys as perf
from libc.errno cimport errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap
from posix.unistd cimport _SC_PAGESIZE, close, sysconf

import os

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events, revents
    enum: POLLIN
    int poll(pollfd *fds, unsigned long n, int timeout)

perf.import_api()

cdef size_t PAGE = sysconf(_SC_PAGESIZE)


cdef long capture(char *area, size_t pages, char *buffer, size_t size, perf.perf_sample *samples, size_t n) nogil:
    """Fault pages in, and decode what the kernel wrote of it; return the number of samples, or -1 with errno."""
    cdef perf.perf_event_attr attr
    cdef perf.perf_event_mmap_page *page
    cdef perf.records_event event
    cdef perf.records_key *keys
    cdef pollfd polled
    cdef size_t i, consumed, done
    cdef long found = -1
    memset(&attr, 0, sizeof(attr))
    attr.type = perf.PERF_TYPE_SOFTWARE
    attr.config = perf.PERF_COUNT_SW_PAGE_FAULTS
    attr.size = sizeof(attr)
    attr.sample_period = attr.wakeup_events = 1
    attr.sample_type = perf.PERF_SAMPLE_TIME | perf.PERF_SAMPLE_ADDR
    attr.disabled = attr.exclude_kernel = 1
    event.id, event.attr = 0, &attr
    polled.fd = perf.perf_event_open(&attr, 0, -1, -1, perf.PERF_FLAG_FD_CLOEXEC)
    polled.events = POLLIN
    if polled.fd < 0:
        return -1
    page = <perf.perf_event_mmap_page *>perf.ring_map(polled.fd, 9 * PAGE, 0, 1)
    keys = <perf.records_key *>malloc(2 * n * sizeof(perf.records_key))
    if page is not NULL and keys is not NULL and perf.ioctl_enable(polled.fd, 0) == 0:
        for i in range(pages):
            area[i * PAGE] = 1
        perf.ioctl_disable(polled.fd, 0)
        poll(&polled, 1, 1000)
        found = perf.ring_read(page, buffer, size)
        if found >= 0:
            found = perf.records_parse(buffer, found, &event, 1, samples, n, &consumed, &done)
        if found > 0:
            perf.records_sort(samples, found, keys)
    free(keys)
    if page is not NULL:
        perf.ring_unmap(page, 9 * PAGE)
    close(polled.fd)
    return found


def faults(size_t pages):
    """Fault pages in; return the time and the address of each page fault."""
    cdef size_t size = 8 * PAGE, n = size // 24
    cdef char *buffer = <char *>malloc(size)
    cdef perf.perf_sample *samples = <perf.perf_sample *>malloc(n * sizeof(perf.perf_sample))
    cdef char *area = <char *>mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    cdef long found = -1, i
    cdef int error
    try:
        if buffer is NULL or samples is NULL or area == MAP_FAILED:
            raise MemoryError
        with nogil:
            found = capture(area, pages, buffer, size, samples, n)
            error = errno
        if found < 0:
            raise OSError(error, os.strerror(error))
        return [(samples[i].time, samples[i].addr) for i in range(found)]
    finally:
        free(buffer)
        free(samples)
        if area != MAP_FAILED:
            munmap(area, pages * PAGE)
