"""Every constant and struct of ``<linux/perf_event.h>`` and ``<linux/hw_breakpoint.h>``, by its C name.

Constants are ints, and include those of this architecture's ``<asm/perf_regs.h>``. For each struct there is a
constructor of its name. It takes the struct's fields as keywords, bitfields and the members of anonymous unions
included, and returns a pointer that owns the struct; fields that are not given are 0.
"""

from __future__ import annotations

from ._memory import keeping
from ._native import ffi, lib
from ._pointers import attr_pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ._native import _Buffer
    from .bindings import perf_event_attr_p, perf_event_query_bpf_p

globals().update({name: getattr(lib, name) for name in dir(lib) if name.isupper()})

# The type names of the stub file (perf_counts_p is a pointer, perf_counts_a an array, perf_counts_s a struct) exist at
# run time too, all as ffi.CData, so that annotations that use them can be evaluated.
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

# For dump(): the enum that names the bits of a field; and the enum that names the values of config, by attr.type.
_FLAGS = {
    "sample_type": "perf_event_sample_format",
    "read_format": "perf_event_read_format",
    "branch_sample_type": "perf_branch_sample_type",
}
_CONFIGS = {lib.PERF_TYPE_HARDWARE: "perf_hw_id", lib.PERF_TYPE_SOFTWARE: "perf_sw_ids"}


def _refuse(ctype: Any, fields: dict[str, Any], error: Exception) -> NoReturn:
    """Raise the error for the field that cffi refused, naming it: cffi's own *error* does not."""
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
    """Return a new ``struct perf_event_attr *``.

    Args:
        fields: fields by their C names, as in ``type=PERF_TYPE_SOFTWARE``. ``size`` is, unless given, that of the
            struct in these headers; other fields that are not given are 0.

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
    # The indentation of the docstring's lines; none from CPython 3.13 on, which removes it.
    margin = construct.__doc__[len(text) :].lstrip("\n")
    construct.__doc__ = f"{text}\n\n{margin}Fields:\n    {margin}" + f",\n    {margin}".join(lines)


_list_fields(perf_event_attr, _ATTR)


def perf_event_query_bpf(ids_len: int) -> perf_event_query_bpf_p:
    """Return a new ``struct perf_event_query_bpf *`` whose array ``ids`` has *ids_len* elements.

    Raises:
        TypeError, OverflowError: *ids_len* is no int, or does not fit a u32.
    """
    _new(_QUERY, {"ids_len": ids_len})  # raises if ids_len is no u32, before the next line allocates memory by it
    return ffi.new(_QUERY, {"ids_len": ids_len, "ids": ids_len})


def perf_event_attr_from(data: _Buffer) -> perf_event_attr_p:
    """Return a new ``struct perf_event_attr *`` with the bytes of one from a file or another process.

    Args:
        data: the bytes, of any length. The struct of an older kernel is shorter: the missing fields are 0, and ``size``
            stays what the bytes say, so that the kernel treats the copy as the original. The struct of a later kernel
            is longer: the bytes beyond this module's struct must be 0, and ``size`` becomes this module's.

    Raises:
        ValueError: a byte beyond this module's struct is not 0: it belongs to a field that these headers do not know.
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
    """Return a pointer to a new copy of the struct that *pointer* points to.

    The copy of an attr keeps the original alive, and so the strings that the original's ``uprobe_path`` or
    ``kprobe_func`` may point to. To compare two structs, compare their bytes: ``bytes(ffi.buffer(attr))``.

    Args:
        pointer: a pointer to a struct of this module.
        overrides: fields of the copy that are to have another value, by their C names.

    Raises:
        TypeError: *pointer* does not point to a struct, or its struct ends in an array whose length is not known; an
            override that is no field, or no int.
        OverflowError: an override that does not fit its field, which is named.
        ValueError: *pointer* is the page of a ring that is gone.
    """
    from ._mappings import find

    cdata: Any = ffi.CData
    kind = ffi.typeof(pointer) if isinstance(pointer, cdata) else None
    if kind is None or kind.kind != "pointer" or kind.item.kind not in ("struct", "union") or not pointer:
        raise TypeError(f"pointer must point to a struct, not {kind.cname if kind else type(pointer).__name__}")
    if kind.item.fields is None:
        raise TypeError(f"what a {kind.item.cname} has in it is not known")
    mapped = find(pointer)
    pointer = mapped[0] if mapped else pointer
    if kind is _QUERY and not overrides:
        # The room that there is, which cffi knows of a struct that it allocated, and not what ids_len may say by now.
        room = (ffi.sizeof(pointer[0]) - ffi.sizeof(kind.item)) // ffi.sizeof("uint32_t")
        query = perf_event_query_bpf(min(pointer.ids_len, room))
        ffi.memmove(query.ids, pointer.ids, 4 * query.ids_len)
        query.prog_cnt = pointer.prog_cnt
        return query
    if any(field.type.kind == "array" and field.type.length is None for _, field in kind.item.fields):
        raise TypeError(f"a {kind.item.cname} ends in an array, whose length is not known")
    memory = ffi.new("char[]", ffi.sizeof(kind.item))
    if kind is _ATTR:
        memory = ffi.gc(memory, keeping(pointer))
    new = ffi.new_allocator(alloc=lambda _size: memory)(kind)
    new[0] = pointer[0]
    try:
        for name, value in overrides.items():
            setattr(new, name, value)
    except (AttributeError, TypeError, OverflowError) as error:
        _refuse(kind, overrides, error)
    return new


def _constructor(ctype: str) -> Any:
    name: Any = f"{ctype} *"  # Any: the stub of ffi.typeof() knows type names only where they are literals
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
    """Return ``PERF_MEM_<a>_<s>`` shifted to its bits of ``perf_mem_data_src.val``, as the C macro does.

    Args:
        a: the field, as in ``"OP"``.
        s: its value, as in ``"LOAD"``.

    Raises:
        ValueError: there is no such constant; the nearest names are given.
    """
    try:
        if not f"{a}{s}".isascii():  # cffi raises SystemError
            raise AttributeError
        return int(getattr(lib, f"PERF_MEM_{a}_{s}") << getattr(lib, f"PERF_MEM_{a}_SHIFT"))
    except AttributeError:
        from ._names import nearest

        known = [name for name in dir(lib) if name.startswith("PERF_MEM_")]
        raise ValueError(f"no PERF_MEM_{a}_{s}{nearest(f'PERF_MEM_{a}_{s}', known)}") from None


def _enumerators(enum: str) -> dict[int, str]:
    ctype: Any = f"enum {enum}"
    return ffi.typeof(ctype).elements


def name_of(enum: str, value: int) -> str:
    """Return the C name of an enum's value: ``name_of("perf_event_type", 9)`` is ``"PERF_RECORD_SAMPLE"``.

    Args:
        enum: the enum's tag in the header.
        value: the number.

    Raises:
        ValueError: the header has no such enum, or the enum no such value.
    """
    try:
        if not enum.isidentifier() or not enum.isascii():  # cffi crashes on some strings that are no C at all
            raise AttributeError
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
    """Return the fields of *attr* that are not 0, one a line; flags and enum values are shown by their C names.

    A field that is 0 is shown too if 0 has a name there: ``type``, and ``config`` of hardware and software events. Of
    each union only one member is shown, which follows from the type and the flags: ``sample_freq`` if ``freq`` is set,
    for example, otherwise ``sample_period``.
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
