"""Draw docs/pictures/ring.svg: four moments in the life of a ring, with its head, tail, and a lost record.

python scripts/draw_ring.py [--check]

With --check nothing is written, and the exit status is 1 where the picture is not what would be drawn.
"""

from __future__ import annotations

import sys
from math import cos, pi, sin
from pathlib import Path

from svg import path, picture, text

PICTURE = Path(__file__).resolve().parent.parent / "docs/pictures/ring.svg"
SIZE = 4096  # of the ring in the picture, in bytes
OUTER, INNER = 92, 62  # radii, in pixels
# A moment: what it shows, in two lines; data_tail; the end of each record behind it; whether the next is lost.
MOMENTS = [
    ("1. The kernel writes at data_head", "three records, none read", 0, [640, 1344, 1984], False),
    (
        "2. A reader has moved data_tail",
        "the last record continues at the start",
        1984,
        [2624, 3264, 3904, 4736],
        False,
    ),
    (
        "3. Full: the next record is dropped",
        "the kernel counts it, and writes nothing",
        1984,
        [*range(2624, 5900, 640)],
        True,
    ),
    ("4. Read, there is room again", "before the next record: PERF_RECORD_LOST", 5824, [5848, 6488], False),
]
COLORS = ["a", "c"]


def point(position: float, radius: float) -> str:
    """Return the place of a position, which may have gone round the ring several times; index 0 is at the top."""
    angle = 2 * pi * position / SIZE - pi / 2
    return f"{radius * cos(angle):.1f} {radius * sin(angle):.1f}"


def arc(start: float, end: float, kind: str, more: str = "") -> str:
    """Return the part of the ring between two positions, with a gap to the next."""
    start, end = start + 5, end - 5
    large = int(end - start > SIZE / 2)
    outer = f"M{point(start, OUTER)} A{OUTER} {OUTER} 0 {large} 1 {point(end, OUTER)}"
    return path(f"{outer} L{point(end, INNER)} A{INNER} {INNER} 0 {large} 0 {point(start, INNER)} Z", kind, more)


def mark(position: float, name: str, inside: bool) -> list[str]:
    """Return an arrow at a position, and its name."""
    tip, foot, label = (INNER - 2, INNER - 18, INNER - 32) if inside else (OUTER + 2, OUTER + 18, OUTER + 32)
    x, y = map(float, point(position, label).split())
    line = path(f"M{point(position, foot)} L{point(position, tip)}", "ink", ' stroke-width="2"')
    return [line, text(x, y + 4, name, "small mono middle")]


def draw() -> str:
    """Return the picture."""
    parts = []
    for at, (title, subtitle, tail, ends, dropped) in enumerate(MOMENTS):
        x, y = 170 + at % 2 * 340, 200 + at // 2 * 375
        parts.append(f'<g transform="translate({x} {y})">')
        parts.append(path(f"M0 {-OUTER - 8} V{-INNER + 8}", "ink", ' stroke-dasharray="3 2"'))
        parts.append(text(0, -OUTER - 76, title, "title middle"))
        parts.append(text(0, -OUTER - 58, subtitle, "small faint middle"))
        head = ends[-1]
        parts.append(arc(head, tail + SIZE, "room"))
        for number, (start, end) in enumerate(zip([tail, *ends], ends, strict=False)):
            lost = at == 3 and number == 0
            parts.append(arc(start, end, "b" if lost else COLORS[number % 2]))
        if dropped:
            parts.append(text(0, 4, "lost: 1", "middle"))
        near = abs((head - tail) % SIZE) < 300
        parts += mark(tail, "tail", inside=near or dropped)
        parts += mark(tail + 12, "LOST", inside=True) if at == 3 else []
        parts += mark(head, "head", inside=False)
        parts.append(text(0, OUTER + 58, f"data_tail {tail:,}  data_head {head:,}", "small mono middle"))
        free = SIZE - (head - tail)
        parts.append(text(0, OUTER + 76, f"free: {free:,} of {SIZE:,} bytes", "small faint middle"))
        parts.append("</g>")
    title = "Four moments in the life of a ring: written, read, full, and written again with a record of what was lost"
    return picture("draw_ring.py", title, 680, 770, parts)


def main() -> int:
    """Draw the picture, or check it; return the exit status."""
    if "--check" in sys.argv[1:]:
        return int(not PICTURE.exists() or PICTURE.read_text() != draw())
    PICTURE.write_text(draw())
    return 0


if __name__ == "__main__":
    sys.exit(main())
