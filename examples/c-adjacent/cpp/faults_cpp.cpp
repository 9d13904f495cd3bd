// Trace page faults by perf_event_open, in C++: what closes and unmaps is a destructor.
#include <Python.h>
#include <perf_event_open_sys_capi.h>

#include <cerrno>
#include <sys/mman.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace {

class Event {
public:
    explicit Event(perf_event_attr &attr)
        : fd(perf_event_open_sys->perf_event_open(&attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC))
    {
        check(fd);
    }
    Event(const Event &) = delete;
    Event &operator=(const Event &) = delete;
    ~Event() { close(fd); }

    static void check(long result)
    {
        if (result < 0)
            throw std::system_error(errno, std::generic_category());
    }

    const int fd;
};

class Ring {
public:
    Ring(const Event &event, std::size_t size)
        : size(size), page(static_cast<perf_event_mmap_page *>(perf_event_open_sys->ring_map(event.fd, size, 0, 1)))
    {
        Event::check(page ? 0 : -1);
    }
    Ring(const Ring &) = delete;
    Ring &operator=(const Ring &) = delete;
    ~Ring() { perf_event_open_sys->ring_unmap(page, size); }

    const std::size_t size;
    perf_event_mmap_page *const page;
};

std::vector<perf_sample> trace(std::size_t pages)
{
    const auto page_size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    perf_event_attr attr{};
    attr.type = PERF_TYPE_SOFTWARE;
    attr.config = PERF_COUNT_SW_PAGE_FAULTS;
    attr.size = sizeof attr;
    attr.sample_period = 1;
    attr.sample_type = PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR;
    attr.disabled = 1;
    attr.exclude_kernel = 1;

    const Event event(attr);
    const Ring ring(event, 9 * page_size);
    Event::check(perf_event_open_sys->ioctl_enable(event.fd, 0));
    void *const area = mmap(nullptr, pages * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        Event::check(-1);
    for (std::size_t i = 0; i < pages; i++)
        static_cast<volatile char *>(area)[i * page_size] = 1;
    perf_event_open_sys->ioctl_disable(event.fd, 0);
    munmap(area, pages * page_size);

    std::vector<char> buffer(8 * page_size);
    const long size = perf_event_open_sys->ring_read(ring.page, buffer.data(), buffer.size());
    Event::check(size);
    std::vector<perf_sample> samples(perf_event_open_sys->records_count(buffer.data(), static_cast<std::size_t>(size)));
    const records_event of_all{0, &attr};
    std::size_t consumed, done;
    Event::check(perf_event_open_sys->records_parse(buffer.data(), static_cast<std::size_t>(size), &of_all, 1,
                                                    samples.data(), samples.size(), &consumed, &done));
    return samples;
}

// faults(pages) -> [(nanoseconds, address), …]
PyObject *faults(PyObject *, PyObject *argument)
{
    const std::size_t pages = PyLong_AsSize_t(argument);
    if (PyErr_Occurred())
        return nullptr;
    if (pages > 512)
        return PyErr_Format(PyExc_ValueError, "the ring has room for the faults of 512 pages");
    try {
        const std::vector<perf_sample> samples = trace(pages);
        PyObject *list = PyList_New(0);
        for (std::size_t i = 0; list && i < samples.size(); i++) {
            PyObject *const pair = Py_BuildValue("KK", static_cast<unsigned long long>(samples[i].time),
                                                 static_cast<unsigned long long>(samples[i].addr));
            if (!pair || PyList_Append(list, pair) < 0)
                Py_CLEAR(list);
            Py_XDECREF(pair);
        }
        return list;
    } catch (const std::system_error &error) {
        errno = error.code().value();
        return PyErr_SetFromErrno(PyExc_OSError);
    }
}

PyMethodDef methods[] = {
    {"faults", faults, METH_O, "Fault pages in; return the time and the address of each page fault."},
    {nullptr, nullptr, 0, nullptr},
};
PyModuleDef module{PyModuleDef_HEAD_INIT, "faults_cpp", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

} // namespace

PyMODINIT_FUNC PyInit_faults_cpp()
{
    return perf_event_open_sys_import() < 0 ? nullptr : PyModule_Create(&module);
}
