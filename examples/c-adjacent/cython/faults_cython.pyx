# cython: language_level=3
"""Capture page faults in Cython: open, map, poll, drain, decode, sort; without the GIL, and without a call of Python."""

cimport perf_event_open_sys as perf
from libc.errno cimport errno
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

cdef enum:
    BATCH = 64  # pages that are touched between two drains
    DATA_PAGES = 8

cdef size_t PAGE = sysconf(_SC_PAGESIZE)

cdef struct Capture:  # what the caller brings: memory for the records, for the samples, and for sorting them
    char *buffer
    size_t size
    perf.perf_sample *samples
    size_t n
    perf.records_key *keys


cdef long drain(int fd, perf.perf_event_mmap_page *page, volatile char *area, size_t pages, char *buffer, size_t size) nogil:
    """Touch the pages batch by batch; after each, wait for the records and take them out of the ring."""
    cdef pollfd polled
    cdef size_t i, touched = 0
    cdef long taken, total = 0
    polled.fd, polled.events = fd, POLLIN
    while touched < pages:
        for i in range(touched, min(touched + BATCH, pages)):
            area[i * PAGE] = 1
        touched += BATCH
        if poll(&polled, 1, 1000) < 0:
            return -1
        taken = perf.ring_read(page, buffer + total, size - total)
        if taken < 0:
            return -1
        total += taken
    return total


cdef long capture(size_t pages, Capture *to) nogil:
    """Return the number of samples, in the order of time; or the negated errno."""
    cdef perf.perf_event_attr attr
    cdef perf.records_event event
    cdef size_t consumed, done
    cdef long found = -1
    memset(&attr, 0, sizeof(attr))
    attr.type, attr.config, attr.size = perf.PERF_TYPE_SOFTWARE, perf.PERF_COUNT_SW_PAGE_FAULTS, sizeof(attr)
    attr.sample_period, attr.wakeup_events, attr.exclude_kernel = 1, 1, 1
    attr.sample_type = perf.PERF_SAMPLE_TIME | perf.PERF_SAMPLE_ADDR
    event.id, event.attr = 0, &attr
    cdef void *area = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    cdef int fd = perf.perf_event_open(&attr, 0, -1, -1, perf.PERF_FLAG_FD_CLOEXEC)
    cdef void *page = perf.ring_map(fd, (1 + DATA_PAGES) * PAGE, 0, 1) if fd >= 0 else NULL
    if area != MAP_FAILED and page is not NULL:
        found = drain(fd, <perf.perf_event_mmap_page *>page, <volatile char *>area, pages, to.buffer, to.size)
        if found >= 0:
            found = perf.records_parse(to.buffer, found, &event, 1, to.samples, to.n, &consumed, &done)
        if found > 0:
            perf.records_sort(to.samples, found, to.keys)
    if found < 0:
        found = -errno
    if page is not NULL:
        perf.ring_unmap(page, (1 + DATA_PAGES) * PAGE)
    if fd >= 0:
        close(fd)
    if area != MAP_FAILED:
        munmap(area, pages * PAGE)
    return found


def faults(size_t pages, size_t repeat=1):
    """Fault pages in, *repeat* times; return the time and the address of each page fault of the last time."""
    cdef Capture to
    cdef long found = 0, i
    if pages > 1 << 20:
        raise ValueError("at most 1,048,576 pages")
    to.n = pages + 1024
    to.size = to.n * 24  # a header, a time and an address
    to.buffer = <char *>malloc(to.size)
    to.samples = <perf.perf_sample *>malloc(to.n * sizeof(perf.perf_sample))
    to.keys = <perf.records_key *>malloc(2 * to.n * sizeof(perf.records_key))
    try:
        if to.buffer is NULL or to.samples is NULL or to.keys is NULL:
            raise MemoryError
        with nogil:
            while repeat > 0 and found >= 0:
                found = capture(pages, &to)
                repeat -= 1
        if found < 0:
            raise OSError(-found, os.strerror(-found))
        return [(to.samples[i].time, to.samples[i].addr) for i in range(found)]
    finally:
        free(to.buffer)
        free(to.samples)
        free(to.keys)
