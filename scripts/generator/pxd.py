"""Write perf_event_open_sys/__init__.pxd: what ``cimport perf_event_open_sys`` gives to Cython."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator

from . import banner, indent, wrap
from .cdefs import Module
from .types import SCALARS, CType

_HEAD = """
# Structs, constants and functions of C, with their C names; what each does is in the headers of get_include(), which the
# extension is compiled with. Call import_api() once, before any other function: it raises ImportError where the package is
# not installed, or older than this file, and returns the table that the functions are taken from. All other functions need
# no GIL, keep no pointer beyond the call, return -1 or NULL on failure and leave the reason in libc.errno.errno.
#
# Names that are words of Python end in "_" here: perf_branch_entry.from_. An array whose length C leaves open is shown as a
# pointer. Constants of other architectures' registers are listed too; C compilers know those of their own.
"""


def text(module: Module) -> str:
    """Return the file."""
    lines = [banner(f"cdefs/ (headers of Linux {module.version})"), *_HEAD.strip().splitlines()]
    lines += [
        f"from libc.stdint cimport {', '.join(name for name in SCALARS if re.match(r'u?int', name) and '_t' in name)}"
    ]
    lines += ["", 'cdef extern from "perf_event_open_sys_capi.h" nogil:']
    lines += indent([*_constants(module), *_structs(module), *_functions(module)])
    lines += ["", 'cdef extern from "perf_event_open_sys_capi.h":']
    lines += indent(['const perf_event_open_sys_api *import_api "perf_event_open_sys_import_api"() except NULL'])
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _constants(module: Module) -> Iterator[str]:
    """Yield all constants. Those that fit an int can be cases of a switch; Cython would cut the others to an int."""
    values = module.constants | {name: value for known in module.registers.values() for name, value in known.items()}
    small = [name for name, value in values.items() if value is not None and -(2**31) <= value < 2**31]
    yield "enum:"
    yield from indent(wrap([f"{name}," for name in small]))
    yield ""
    for name, value in values.items():
        if name not in small:
            yield f"const {'unsigned long' if value is None else 'uint64_t'} {name}"


def _structs(module: Module) -> Iterator[str]:
    for name, fields in module.structs.items():
        yield ""
        yield f"{name if ' ' in name else f'ctypedef union {name}'}:"
        yield from indent([_declared(kind, field) for field, kind in fields])


def _functions(module: Module) -> Iterator[str]:
    """Yield the table, and each function as a member of it: Cython writes the second name into its C."""
    functions = {
        name: _parameters(parameters) for name, (parameters, _) in module.functions.items() if name in module.prototypes
    }
    yield ""
    yield "struct perf_event_open_sys_api:"
    yield from indent(["uint32_t version", "uint32_t size"])
    for name, parameters in functions.items():
        yield f"    {_declared(module.functions[name][1], f'(*{name})')}({parameters}) noexcept"
    yield ""
    for name, parameters in functions.items():
        result = _declared(module.functions[name][1], name)
        yield f'{result} "perf_event_open_sys->{name}"({parameters}) noexcept'


def _parameters(parameters: list[tuple[str, CType]]) -> str:
    return ", ".join(_declared(kind, f"{name}_" if keyword.iskeyword(name) else name) for name, kind in parameters)


def _declared(kind: CType, name: str) -> str:
    """Return a declaration of *name*, a field, a parameter or a function, as Cython spells it."""
    cname = f' "{name}"' if keyword.iskeyword(name) else ""
    if cname:
        name += "_"
    length = ""
    while kind.item:
        if kind.kind == "array" and kind.length is not None:
            length += f"[{kind.length}]"
        else:
            name = f"*{name}"
        if kind.is_const and not kind.item.item:
            return f"const {_spelled(kind.item)} {name}{length}{cname}"
        kind = kind.item
    return f"{_spelled(kind)} {name}{length}{cname}"


def _spelled(kind: CType) -> str:
    return kind.name.removeprefix("struct ").removeprefix("union ")
