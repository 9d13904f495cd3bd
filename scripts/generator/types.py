"""What a C type is called in the stub files.

Of ``struct perf_counts``, a pointer is ``perf_counts_p``, an array ``perf_counts_a``, the struct itself ``perf_counts_s``;
of ``unsigned int``, ``unsigned_int_p`` and ``unsigned_int_a``. A value of an integer type is an int.
"""

from __future__ import annotations

from dataclasses import dataclass

# The scalar types that the stub knows, whether a header uses them or not; bindings.py has the same list.
SCALARS = (
    *("char", "int", "unsigned int", "long", "unsigned long", "int8_t", "uint8_t", "int16_t", "uint16_t"),
    *("int32_t", "uint32_t", "int64_t", "uint64_t", "size_t", "ssize_t", "intptr_t", "uintptr_t"),
)
BYTES = ("char", "int8_t", "uint8_t")  # bytes are taken for a pointer to these


@dataclass(frozen=True)
class CType:
    """A C type: a scalar (enums among them), ``void``, a struct or union, or a pointer or array of another type."""

    kind: str  # scalar, void, struct, pointer, array
    name: str = ""  # as C spells it: "unsigned int", "struct perf_counts"
    item: CType | None = None
    is_const: bool = False  # of a pointer: what it points to is not written
    length: int | None = None  # of an array: None where the declaration leaves it open

    @property
    def stem(self) -> str:
        """The name of the type without "struct", one word: what the names of its pointers and arrays begin with."""
        if self.item:
            return self.item.stem + ("_p" if self.kind == "pointer" else "_a")
        return self.name.removeprefix("struct ").removeprefix("union ").replace(" ", "_")

    @property
    def is_named(self) -> bool:
        """Whether bindings.pyi shows the pointer type of this item: not that of a pointer to a pointer."""
        return self.item is None

    def value(self) -> str:
        """The annotation of what reading gives: a field, an element, a function's result."""
        if self.kind == "scalar":
            return "bytes" if self.name == "char" else "bool" if self.name == "_Bool" else "int"
        if self.kind == "void":
            return "None"
        if self.kind == "struct":
            return f"{self.stem}_s"
        assert self.item
        if self.kind == "array" and self.length is None:
            return self.item.pointer()  # a flexible array: C does not know how many elements it has
        return self.item.pointer() if self.kind == "pointer" else self.item.array()

    def pointer(self) -> str:
        """The name of the class of pointers to this type."""
        return f"{'' if self.is_named else '_'}{self.stem}_p"

    def array(self) -> str:
        """The name of the class of arrays of this type."""
        return f"{'' if self.is_named else '_'}{self.stem}_a"

    def argument(self) -> str:
        """The annotation of a function's parameter, or of a value for a field: what cffi converts to this type."""
        if not self.item:
            return "bytes" if self.name == "char" else self.value()
        item = self.item
        if item.kind == "void":
            return "_Memory | bytes" if self.is_const else "_Memory"
        accepted = [item.pointer(), item.array(), "void_p"]
        if self.is_const and item.kind == "scalar":
            accepted.append("bytes" if item.name in BYTES else "Sequence[int]")
        if self.is_const and item.kind == "pointer":
            accepted.append(f"Sequence[{item.value()}]")
        return " | ".join(accepted)
