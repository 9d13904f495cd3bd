"""What pyproject.toml cannot say: the cffi build script, the C headers in the package, the abi3 tag where there is one."""

import sysconfig
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

LIMITED_API = not sysconfig.get_config_var("Py_GIL_DISABLED")

# What the C files share among themselves: it defines static functions, and is not for other extensions.
PRIVATE_HEADERS = {Path("cdefs", name) for name in ("internal.h", "decode.h", "match.h", "span.h")}


class BuildWithHeaders(build_py):
    """Copy ``cdefs/**/*.h`` to ``perf_event_open_sys/include``; an editable install uses them where they are."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for header in set(Path("cdefs").glob("**/*.h")) - PRIVATE_HEADERS:
                target = Path(self.build_lib, "perf_event_open_sys", "include", header.relative_to("cdefs"))
                self.mkpath(str(target.parent))
                self.copy_file(str(header), str(target))


setup(
    cffi_modules=["build_perf.py:ffibuilder"],
    cmdclass={"build_py": BuildWithHeaders},
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if LIMITED_API else {},
)
