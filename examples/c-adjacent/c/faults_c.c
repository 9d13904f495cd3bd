/* Trace page faults by perf_event_open: the kernel writes a record for each into a ring, C drains and decodes it. */
#include <Python.h>
#include <perf_event_open_sys_capi.h>

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DATA_PAGES = 8, BUFFER = 64 * 1024, MOST = 1024 };

/* Each thread's own: several may trace at once, since trace() runs without the GIL. */
static _Thread_local char buffer[BUFFER];
static _Thread_local struct perf_sample samples[MOST];

static void touch(volatile char *area, size_t pages, size_t page_size)
{
    for (size_t i = 0; i < pages; i++)
        area[i * page_size] = 1;
}

/* Fault `pages` pages in, and decode what the kernel wrote of it into `samples`. Returns how many, or -1 with errno. It
 * runs without the GIL. */
static long trace(char *area, size_t pages, size_t page_size)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_SOFTWARE,
        .config = PERF_COUNT_SW_PAGE_FAULTS,
        .size = sizeof attr,
        .sample_period = 1,
        .sample_type = PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR,
        .disabled = 1,
        .exclude_kernel = 1,
    };
    const struct records_event event = {0, &attr};
    const size_t mapped = (1 + DATA_PAGES) * page_size;
    const int fd = perf_event_open_sys->perf_event_open(&attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    struct perf_event_mmap_page *page = NULL;
    size_t consumed, done;
    long n = -1;

    if (fd < 0)
        return -1;
    page = perf_event_open_sys->ring_map(fd, mapped, 0, 1);
    if (page && perf_event_open_sys->ioctl_enable(fd, 0) == 0) {
        touch(area, pages, page_size);
        perf_event_open_sys->ioctl_disable(fd, 0);
        n = perf_event_open_sys->ring_read(page, buffer, sizeof buffer);
        if (n >= 0)
            n = perf_event_open_sys->records_parse(buffer, (size_t)n, &event, 1, samples, MOST, &consumed, &done);
    }
    const int error = errno;
    if (page)
        perf_event_open_sys->ring_unmap(page, mapped);
    close(fd);
    errno = error;
    return n;
}

/* faults(pages) -> [(nanoseconds, address), …] */
static PyObject *faults(PyObject *Py_UNUSED(module), PyObject *argument)
{
    const size_t pages = PyLong_AsSize_t(argument), page_size = (size_t)sysconf(_SC_PAGESIZE);
    char *area;
    long n;

    if (PyErr_Occurred())
        return NULL;
    if (pages > MOST / 2)
        return PyErr_Format(PyExc_ValueError, "the ring has room for the faults of %d pages", MOST / 2);
    area = mmap(NULL, pages * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_BEGIN_ALLOW_THREADS
    n = trace(area, pages, page_size);
    Py_END_ALLOW_THREADS
    PyObject *list = n < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyList_New(0);
    munmap(area, pages * page_size);
    for (long i = 0; list && i < n; i++) {
        PyObject *pair = Py_BuildValue("KK", (unsigned long long)samples[i].time, (unsigned long long)samples[i].addr);
        if (!pair || PyList_Append(list, pair) < 0)
            Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return list;
}

static PyMethodDef methods[] = {
    {"faults", faults, METH_O, "Fault pages in; return the time and the address of each page fault."},
    {0},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "faults_c", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_faults_c(void)
{
    if (perf_event_open_sys_import() < 0)
        return NULL;
    return PyModule_Create(&module);
}
