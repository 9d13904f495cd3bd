"""What pyproject.toml cannot say: the cffi build script, and the abi3 tag where there is a limited API."""

import sysconfig

from setuptools import setup

limited_api = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    cffi_modules=["build_perf.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if limited_api else {},
)
