"""Constant expressions of C, computed as a C compiler computes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from pycparser import CParser, c_ast

from . import stop

# The only types that the kernel's headers may use, by width in bits (negative: signed) and by their C99 names.
TYPES = {
    **{f"__u{bits}": (bits, f"uint{bits}_t") for bits in (8, 16, 32, 64)},
    **{f"__s{bits}": (-bits, f"int{bits}_t") for bits in (8, 16, 32, 64)},
}
TYPEDEFS = "".join(
    f"typedef {'unsigned' if bits > 0 else 'signed'} {kind} {name};\n"
    for kind, width in (("char", 8), ("short", 16), ("int", 32), ("long long", 64))
    for name, (bits, _) in TYPES.items()
    if abs(bits) == width
)


class Number(NamedTuple):
    """A value of a C integer type.

    The width of ``long`` differs between machines: it counts as 32 bits, and a result that does not fit stops the run.
    """

    value: int
    rank: int = 0  # int, long, long long
    unsigned: bool = False

    @property
    def literal(self) -> str:
        """The number as C writes it."""
        suffix = ("U" if self.unsigned else "") + "L" * self.rank
        return f"{self.value}{suffix}"

    def fitted(self, where: object) -> Number:
        """Return the value as its type holds it; it may wrap where C defines that, and alike on every machine."""
        bits = 64 if self.rank == 2 else 32
        low, high = (0, 2**bits) if self.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1))
        if low <= self.value < high:
            return self
        if not self.unsigned or self.rank == 1:
            stop(where, f"{self.value} does not fit its type on every machine")
        return self._replace(value=self.value % high)


_BINARY = {
    "|": int.__or__,
    "&": int.__and__,
    "^": int.__xor__,
    "+": int.__add__,
    "-": int.__sub__,
    "*": int.__mul__,
    "<<": int.__lshift__,
    ">>": int.__rshift__,
}
_UNARY = {"-": int.__neg__, "~": int.__invert__, "+": int.__pos__}


def parse(text: str, where: object = "C") -> c_ast.FileAST:
    """Parse C without directives; stop at what the parser does not know."""
    try:
        return CParser().parse(text)
    except Exception as error:  # pycparser's parser and lexer have no common error class
        stop(where, str(error))


def fold(node: c_ast.Node, known: Mapping[str, Number], where: object) -> Number:
    """Evaluate a constant expression; *known* has the values of the names in it."""
    if isinstance(node, c_ast.Constant) and (
        match := re.fullmatch(r"(0x[0-9a-f]+|0[0-7]*|[1-9]\d*)([ul]*)", node.value.lower())
    ):
        return _literal(match[1], match[2], where)
    if isinstance(node, c_ast.ID):
        if node.name not in known:
            stop(where, f"unknown name {node.name}")
        return known[node.name]
    if isinstance(node, c_ast.Cast):
        names = getattr(getattr(node.to_type.type, "type", None), "names", [None])
        if names[0] not in TYPES:
            stop(where, "a cast to a type that is not one of __u8 … __s64")
        bits = TYPES[names[0]][0]
        value = fold(node.expr, known, where).value % 2 ** abs(bits)
        if bits < 0 and value >= 2 ** (-bits - 1):
            value -= 2**-bits
        return Number(value, 2 if abs(bits) == 64 else 0, bits >= 32)
    if isinstance(node, c_ast.UnaryOp) and node.op in _UNARY:
        operand = fold(node.expr, known, where)
        return operand._replace(value=_UNARY[node.op](operand.value)).fitted(where)
    if not isinstance(node, c_ast.BinaryOp) or node.op not in _BINARY:
        stop(where, f"an expression with {type(node).__name__} {getattr(node, 'op', '')}".rstrip())
    left, right = fold(node.left, known, where), fold(node.right, known, where)
    if node.op in ("<<", ">>"):
        bits = 64 if left.rank == 2 else 32
        if not 0 <= right.value < bits:
            stop(where, f"a shift by {right.value}")
        result = left
    else:
        result = max(left, right, key=lambda n: (n.rank, n.unsigned))
        left, right = (result._replace(value=n.value).fitted(where) for n in (left, right))
    return result._replace(value=_BINARY[node.op](left.value, right.value)).fitted(where)


def _literal(digits: str, suffix: str, where: object) -> Number:
    value = int(digits, 8 if re.fullmatch("0[0-7]+", digits) else 0)
    rank, unsigned = suffix.count("l"), "u" in suffix
    if rank == 0 and value >= 2 ** (32 if unsigned or digits.startswith("0x") else 31):
        rank = 2
    limit = 2 ** (63 if rank == 2 else 31)
    return Number(value, rank, unsigned or value >= limit).fitted(where)
