"""Every constant and struct of ``<linux/perf_event.h>`` and ``<linux/hw_breakpoint.h>``, by its C name.

Constants are ints; those of this architecture's ``<asm/perf_regs.h>`` are among them. A struct's constructor takes its
fields as keywords, those of anonymous unions and bitfields too, and returns an owned, otherwise zero-filled pointer.
"""

from __future__ import annotations

from ._native import ffi, lib
from ._pointers import attr_pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ._native import _Buffer
    from .bindings import perf_event_attr_p, perf_event_query_bpf_p

globals().update({name: getattr(lib, name) for name in dir(lib) if name.isupper()})

# The names of the stub file's C types, for annotations that are evaluated: _p is a pointer, _a an array, _s a struct.
_SCALARS = (
    *("char", "int", "unsigned_int", "long", "unsigned_long", "int8_t", "uint8_t", "int16_t", "uint16_t"),
    *("int32_t", "uint32_t", "int64_t", "uint64_t", "size_t", "ssize_t", "intptr_t", "uintptr_t"),
)
_typedefs, _structs, _unions = ffi.list_types()
_names = [f"{name}_{kind}" for name in (*_SCALARS, *_typedefs, *_structs, *_unions) for kind in "pa"]
_names += [f"{name}_s" for name in (*_typedefs, *_structs, *_unions)]
globals().update(dict.fromkeys(("CData", "void_p", "perf_record_p", *_names), ffi.CData), CType=ffi.CType)

_ATTR = ffi.typeof("struct perf_event_attr *")
_ATTR_SIZE = ffi.sizeof(_ATTR.item)
_QUERY = ffi.typeof("struct perf_event_query_bpf *")

# The fields of perf_event_attr that dump() gives by name: flags, and config by type.
_FLAGS = {
    "sample_type": "perf_event_sample_format",
    "read_format": "perf_event_read_format",
    "branch_sample_type": "perf_branch_sample_type",
}
_CONFIGS = {lib.PERF_TYPE_HARDWARE: "perf_hw_id", lib.PERF_TYPE_SOFTWARE: "perf_sw_ids"}


def _refuse(ctype: Any, fields: dict[str, Any], error: Exception) -> NoReturn:
    """Say which field it was that cffi did not take."""
    from ._names import nearest

    tag = ctype.item.cname.split()[-1]
    scratch = ffi.new(ctype)
    for name, value in fields.items():
        try:
            setattr(scratch, name, value)
        except AttributeError:
            known = [field for field in dir(scratch) if not field.startswith("__")]
            raise TypeError(f"{tag} has no field {name!r}{nearest(name, known)}") from None
        except (TypeError, OverflowError) as reason:
            raise type(reason)(f"{tag}.{name}: {reason}") from None
    raise error


def _new(ctype: Any, fields: dict[str, Any]) -> Any:
    try:
        return ffi.new(ctype, fields)
    except (KeyError, TypeError, OverflowError) as error:
        _refuse(ctype, fields, error)


def perf_event_attr(**fields: int) -> perf_event_attr_p:
    """Return a new ``struct perf_event_attr *``, its ``size`` this module's unless given.

    Raises:
        TypeError: a field that the struct lacks (the nearest names are given), or a value that is no int.
        OverflowError: a value that does not fit its field, which is named.
    """
    return _new(_ATTR, {"size": _ATTR_SIZE} | fields)


def _list_fields(construct: Any, ctype: Any) -> None:
    """Add the names of the struct's fields to a constructor's docstring, for ``help()``."""
    names = [name for name, _ in ctype.item.fields if not name.startswith("__")]
    lines = [", ".join(names[i : i + 6]) for i in range(0, len(names), 6)]
    text = construct.__doc__.rstrip()
    margin = construct.__doc__[len(text) :].lstrip("\n")  # CPython 3.13 takes it out of docstrings
    construct.__doc__ = f"{text}\n\n{margin}Fields:\n    {margin}" + f",\n    {margin}".join(lines)


_list_fields(perf_event_attr, _ATTR)


def perf_event_query_bpf(ids_len: int) -> perf_event_query_bpf_p:
    """Return a new ``struct perf_event_query_bpf *`` with room for *ids_len* program ids."""
    _new(_QUERY, {"ids_len": ids_len})  # refuses what is no u32, before memory is asked for it
    return ffi.new(_QUERY, {"ids_len": ids_len, "ids": ids_len})


def perf_event_attr_from(data: _Buffer) -> perf_event_attr_p:
    """Return a new ``struct perf_event_attr *`` from the bytes of one, as a file or another process has them.

    A shorter struct, an older kernel's, is extended with zeros; ``size`` stays what the bytes say, so that it opens as it
    did. Of a longer one, a later kernel's, the rest must be zero, and ``size`` becomes this module's.

    Raises:
        ValueError: there is something in fields that these headers do not know.
    """
    whole: Any = data
    view = memoryview(whole).cast("B")
    if any(view[_ATTR_SIZE:]):
        raise ValueError(
            f"there is more than zeros behind the {_ATTR_SIZE} bytes of perf_event_attr that are known here"
        )
    new = ffi.new(_ATTR)
    ffi.memmove(new, view, min(len(view), _ATTR_SIZE))
    new.size = min(new.size, _ATTR_SIZE)
    return new


def copy(pointer: Any, **overrides: Any) -> Any:
    """Return a new struct like the one that *pointer* points to, with *overrides* as its other fields.

    The copy of an attr keeps the original, and so what that points to: the strings of a uprobe or a kprobe. Whether two
    structs are equal is told by their bytes: ``bytes(ffi.buffer(attr))``.

    Raises:
        TypeError: no pointer to a struct, or to one that ends in an array of any length; and as the constructors.
        OverflowError: as the constructors.
    """
    cdata: Any = ffi.CData
    kind = ffi.typeof(pointer) if isinstance(pointer, cdata) else None
    if kind is None or kind.kind != "pointer" or kind.item.kind not in ("struct", "union") or not pointer:
        raise TypeError(f"pointer must point to a struct, not {kind.cname if kind else type(pointer).__name__}")
    if kind is _QUERY:
        query = perf_event_query_bpf(pointer.ids_len)
        ffi.memmove(query, pointer, ffi.sizeof(query[0]))
        return query
    if any(field.type.kind == "array" and field.type.length is None for _, field in kind.item.fields):
        raise TypeError(f"a {kind.item.cname} ends in an array, whose length is not known")
    memory = ffi.new("char[]", ffi.sizeof(kind.item))
    if kind is _ATTR:

        def keep(_: Any, original: Any = pointer) -> None:
            """Nothing: this destructor is there to keep the original."""

        memory = ffi.gc(memory, keep)
    new = ffi.new_allocator(alloc=lambda _size: memory)(kind)
    new[0] = pointer[0]
    try:
        for name, value in overrides.items():
            setattr(new, name, value)
    except (AttributeError, TypeError, OverflowError) as error:
        _refuse(kind, overrides, error)
    return new


def _constructor(ctype: str) -> Any:
    name: Any = f"{ctype} *"  # a name that is not written out is Any to the types of ffi
    pointer = ffi.typeof(name)

    def construct(**fields: int) -> Any:
        return _new(pointer, fields)

    construct.__name__ = construct.__qualname__ = ctype.split()[-1]
    construct.__doc__ = f"Return a new ``{ctype} *``; errors as for :func:`perf_event_attr`."
    _list_fields(construct, pointer)
    return construct


perf_event_mmap_page = _constructor("struct perf_event_mmap_page")
perf_event_header = _constructor("struct perf_event_header")
perf_ns_link_info = _constructor("struct perf_ns_link_info")
perf_branch_entry = _constructor("struct perf_branch_entry")
perf_mem_data_src = _constructor("perf_mem_data_src")
perf_sample_weight = _constructor("union perf_sample_weight")


def PERF_MEM_S(a: str, s: str) -> int:  # noqa: N802
    """Return the bits of ``PERF_MEM_<a>_<s>`` in their place in ``perf_mem_data_src.val``."""
    try:
        return int(getattr(lib, f"PERF_MEM_{a}_{s}") << getattr(lib, f"PERF_MEM_{a}_SHIFT"))
    except AttributeError:
        from ._names import nearest

        known = [name for name in dir(lib) if name.startswith("PERF_MEM_")]
        raise ValueError(f"no PERF_MEM_{a}_{s}{nearest(f'PERF_MEM_{a}_{s}', known)}") from None


def _enumerators(enum: str) -> dict[int, str]:
    ctype: Any = f"enum {enum}"
    return ffi.typeof(ctype).elements


def name_of(enum: str, value: int) -> str:
    """Return the C name of a value: ``name_of("perf_event_type", 9)`` is ``"PERF_RECORD_SAMPLE"``.

    Raises:
        ValueError: the header has no such enum, or the enum no such value.
    """
    try:
        names = _enumerators(enum)
    except (ffi.error, AttributeError):  # AttributeError: a pointer to the enum, for example
        raise ValueError(f"no enum {enum}") from None
    if value not in names:
        raise ValueError(f"enum {enum} has no {value}")
    return names[value]


def _named(field: str, attr: perf_event_attr_p) -> str:
    value = getattr(attr, field)
    if field in _FLAGS:
        names = _enumerators(_FLAGS[field])
        known = [bit for bit in sorted(names) if bit & value and not names[bit].endswith("_MAX")]
        rest = value & ~sum(known)
        return "|".join([names[bit] for bit in known] + [hex(rest)] * bool(rest))
    enum = {"type": "perf_type_id", "config": _CONFIGS.get(attr.type, "")}.get(field)
    name = _enumerators(enum).get(value) if enum else None
    return f"{value} ({name})" if name else str(value) if value < 2**16 else hex(value)


def dump(attr: perf_event_attr_p) -> str:
    """Return the fields of *attr* that are not zero, one a line, flags and enums by their C names.

    ``type`` is always shown, and ``config`` where it has a name. Of each union one member is shown, the one that the
    attr's type and flags make meaningful.
    """
    attr = attr_pointer(attr)
    hidden = {
        "sample_period" if attr.freq else "sample_freq",
        "wakeup_events" if attr.watermark else "wakeup_watermark",
        *(("config1", "config2") if attr.type == lib.PERF_TYPE_BREAKPOINT else ("bp_addr", "bp_len")),
        *("kprobe_func", "kprobe_addr", "uprobe_path", "probe_offset", "aux_action"),
    }
    shown = {field: _named(field, attr) for field, _ in _ATTR.item.fields if field not in hidden}
    return "\n".join(f"{field:24} {text}" for field, text in shown.items() if text not in ("", "0"))
