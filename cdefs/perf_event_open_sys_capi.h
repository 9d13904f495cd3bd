/* For another extension, in C11 or C++17: the functions of the installed package. Include <Python.h> first; with
 * Py_LIMITED_API one binary is for all versions of Python. Before the first call, once in each C file that calls:
 *
 *     if (perf_event_open_sys_import() < 0)
 *         return NULL;
 *     n = perf_event_open_sys->ring_read(page, buffer, size);
 */
#pragma once
#include "perf_event_open_sys.h"
#ifdef Py_PYTHON_H

/* The table of the installed package; NULL before perf_event_open_sys_import(). Each C file has its own pointer. */
__attribute__((unused)) static const struct perf_event_open_sys_api *perf_event_open_sys;

/* Import the package, and return its table; NULL with ImportError if the package is not installed, or older than this
 * header. Needs the GIL. */
static inline const struct perf_event_open_sys_api *perf_event_open_sys_import_api(void)
{
    PyObject *package = PyImport_ImportModule("perf_event_open_sys");
    PyObject *capsule = package ? PyObject_GetAttrString(package, "_C_API") : NULL;
    const struct perf_event_open_sys_api *api = NULL;

    if (capsule)
        api = (const struct perf_event_open_sys_api *)PyCapsule_GetPointer(capsule, "perf_event_open_sys._C_API");
    else if (package && PyErr_ExceptionMatches(PyExc_AttributeError))
        PyErr_SetString(PyExc_ImportError, "the installed perf_event_open_sys is older than all that have a function table");
    Py_XDECREF(capsule);
    Py_XDECREF(package);
    if (!api)
        return NULL;
    if (api->version < PERF_EVENT_OPEN_SYS_API_VERSION || api->size < sizeof *api) {
        PyErr_Format(PyExc_ImportError,
                     "the function table of the installed perf_event_open_sys has version %u (%u bytes); this extension "
                     "was built for version %u (%u bytes) and needs that or a newer one",
                     (unsigned int)api->version, (unsigned int)api->size, (unsigned int)PERF_EVENT_OPEN_SYS_API_VERSION,
                     (unsigned int)sizeof *api);
        return NULL;
    }
    return perf_event_open_sys = api;
}

/* The same, for those who use the pointer above: 0, or -1 with ImportError. */
static inline int perf_event_open_sys_import(void)
{
    return perf_event_open_sys_import_api() ? 0 : -1;
}

#endif
