"""An extension with cffi, whose structs are those of perf_event_open_sys."""

from setuptools import setup

setup(cffi_modules=["build_faults.py:ffibuilder"], options={"bdist_wheel": {"py_limited_api": "cp310"}})
