"""What pyproject.toml cannot say: cffi's build script, the C headers, the abi3 tag, and the README as an index shows it."""

import re
import shutil
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CCompilerError

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


class BuildWithAdvice(build_ext):
    """Say which packages are missing when the C code does not compile: the compiler's own words name none."""

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except CCompilerError:
            compiler, header = self.compiler.compiler[0], Path(sysconfig.get_path("include"), "Python.h")
            if shutil.which(compiler) is None:
                problem = f"There is no C compiler: {compiler} is not found."
            elif not header.exists():
                problem = f"Python's C headers are missing: there is no {header}."
            else:
                raise
            raise SystemExit(f"\n{problem} {ADVICE}") from None


ADVICE = """To build perf-event-open-sys, install both:
Debian, Ubuntu: apt install gcc python3-dev        Fedora: dnf install gcc python3-devel
Alpine: apk add gcc musl-dev python3-dev           Elsewhere: a C compiler, and the headers of this Python
"""

# On an index page README.md has no files beside it: of a link to one of them the text is left.
READ_WITHOUT_FILES = re.sub(r"\[([^]]+)\]\((?!\w+:)[^)]+\)", r"\1", Path("README.md").read_text(encoding="utf-8"))

setup(
    long_description=READ_WITHOUT_FILES,
    long_description_content_type="text/markdown",
    cffi_modules=["build_perf.py:ffibuilder"],
    cmdclass={"build_py": BuildWithHeaders, "build_ext": BuildWithAdvice},
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if LIMITED_API else {},
)
