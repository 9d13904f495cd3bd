"""An extension in Cython, built once for CPython 3.10 and all later ones."""

from setuptools import Extension, setup

import perf_event_open_sys

setup(
    ext_modules=[
        Extension(
            "faults_cython",
            ["faults_cython.pyx"],
            include_dirs=[perf_event_open_sys.get_include()],
            define_macros=[("Py_LIMITED_API", "0x030A0000")],
            py_limited_api=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
