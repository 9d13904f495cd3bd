"""NumPy dtypes and arrays for structs and samples. NumPy is imported when a function here is first called."""

from __future__ import annotations

from ._native import ffi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    import numpy

    from ._native import _Name
    from .bindings import CType, perf_sample_a, records_column_a


def view(cdata: perf_sample_a) -> numpy.ndarray[Any, Any]:
    """Return a structured NumPy array of the same memory as the array of structs *cdata*, which it keeps alive."""
    import numpy as np

    memory: Any = ffi.buffer(cdata)
    rows: numpy.ndarray[Any, Any] = np.frombuffer(memory, dtype(ffi.typeof(cdata).item))
    return rows


def dtype(ctype: CType[Any] | _Name) -> numpy.dtype[Any]:
    """See :func:`perf_event_open_sys.records.dtype`."""
    import numpy as np

    kind: Any = ctype
    ctypes: Any = ffi.CType
    if isinstance(ctype, str):
        try:
            kind = ffi.typeof(kind) if ctype.isascii() else None  # cffi crashes on a lone surrogate
        except ffi.error:
            kind = None
    if not isinstance(kind, ctypes) or kind.kind not in ("struct", "union") or kind.fields is None:
        raise ValueError(f"{ctype!r} is no struct of these headers")
    names, formats, offsets = [], [], []
    words: dict[int, Any] = {}
    for field, info in kind.fields:
        if info.bitsize >= 0:
            # On i386 cffi gives a bit above the 32nd with the offset of the upper half of its word.
            size = ffi.sizeof(info.type)
            words.setdefault((8 * info.offset + info.bitshift) // (8 * size) * size, info.type)
        elif info.type.kind != "array" or info.type.length is not None:
            names.append(field)
            formats.append(_format(info.type))
            offsets.append(info.offset)
    for offset, word in words.items():
        if offset not in offsets:
            names.append("flags")
            formats.append(_format(word))
            offsets.append(offset)
    layout: Any = {"names": names, "formats": formats, "offsets": offsets, "itemsize": ffi.sizeof(kind)}
    result: numpy.dtype[Any] = np.dtype(layout)
    return result


def _format(kind: Any) -> Any:
    """Return NumPy's description of a C type, as ``numpy.dtype`` takes it."""
    if kind.kind == "array":
        return (_format(kind.item), (kind.length,))
    if kind.kind == "struct":
        return dtype(kind)
    signed = kind.kind == "primitive" and int(ffi.cast(kind, -1)) < 0
    return f"{'i' if signed else 'u'}{ffi.sizeof(kind)}"


def _sample_fields() -> dict[str, Any]:
    return dict(ffi.typeof("struct perf_sample").fields)


def column_formats(fields: Iterable[str]) -> dict[str, numpy.dtype[Any]]:
    """Return the dtype of each of the *fields* of ``struct perf_sample``, by name."""
    import numpy as np

    known = _sample_fields()
    if isinstance(fields, str):
        raise TypeError(f"fields are names, not a string: [{fields!r}]")
    formats = {}
    for name in fields:
        if name not in known:
            from ._names import nearest

            raise ValueError(f"perf_sample has no field {name!r}{nearest(str(name), known)}")
        formats[name] = np.dtype(_format(known[name].type))
    return formats


def column_arrays(
    formats: dict[str, numpy.dtype[Any]], n: int
) -> tuple[dict[str, numpy.ndarray[Any, Any]], records_column_a]:
    """Return an array of *n* elements for each of *formats*, by name.

    Also returned is the ``records_column[]`` from which ``lib.records_columns`` learns of the arrays that it fills.
    """
    import numpy as np

    known = _sample_fields()
    # All arrays lie in one block of memory, those of wider elements first, so that each is aligned. For a large block,
    # NumPy asks the kernel for huge pages.
    block = np.empty(n * sum(one.itemsize for one in formats.values()), "u1")
    arrays, begin = {}, 0
    for name in sorted(formats, key=lambda name: -formats[name].itemsize):
        end = begin + n * formats[name].itemsize
        arrays[name] = block[begin:end].view(formats[name])
        begin = end
    arrays = {name: arrays[name] for name in formats}
    into = ffi.new("struct records_column[]", len(arrays))
    for column, (name, array) in zip(into, arrays.items(), strict=True):
        column.out, column.field = ffi.cast("void *", ffi.from_buffer(array)), known[name].offset
        column.size = array.itemsize
    return arrays, into
