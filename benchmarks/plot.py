"""Draw lines over logarithmic axes as SVG: solid where they were measured, dashed where they are computed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 780, 420, 84, 190, 16, 48  # the picture, and its margins: in pixels
COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#7b5ea7", "#b08900", "#444")


def decades(low: float, high: float) -> Iterator[float]:
    """Yield the powers of ten from *low* to *high*."""
    power = math.floor(math.log10(low))
    while 10.0**power <= high * 1.001:
        yield 10.0**power
        power += 1


def draw(lines: dict[str, dict[int, float]], powers: dict[str, int], until: int, x_title: str, y_title: str) -> str:
    """Return a plot of *lines*, by name: {x: y}. Each is continued to *until*, by the power of x that *powers* says."""
    first = min(min(points) for points in lines.values())
    lowest = 10.0 ** math.floor(math.log10(min(min(points.values()) for points in lines.values())))
    ends = {name: points[max(points)] * (until / max(points)) ** powers[name] for name, points in lines.items()}
    highest = 10.0 ** math.ceil(math.log10(max(ends.values())))

    def x_of(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(x / first) / math.log(until / first)

    def y_of(y: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(y / lowest) / math.log(highest / lowest)

    parts = [
        "<!-- drawn by benchmarks/scale.py -->",
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for y in decades(lowest, highest):
        parts.append(f'<path d="M{LEFT} {y_of(y):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{y_of(y) + 4:.1f}" text-anchor="end">{f"{y:,.0f}" if y >= 1 else f"{y:g}"}</text>'
        )
    x_marks = [*sorted({x for points in lines.values() for x in points}), until]
    for x in x_marks:
        parts.append(f'<path d="M{x_of(x):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#eee"/>')
        parts.append(f'<text x="{x_of(x):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:,}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_title)}</text>')
    turned = f'transform="rotate(-90 14 {HEIGHT / 2})"'
    parts.append(f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" {turned}>{escape(y_title)}</text>')

    label = math.inf  # above which the next name has room
    ordered = sorted(lines.items(), key=lambda line: ends[line[0]])
    for colour, (name, points) in zip(COLOURS, ordered, strict=True):
        measured = "L".join(f"{x_of(x):.1f} {y_of(y):.1f}" for x, y in sorted(points.items()))
        last = max(points)
        beyond = f"{x_of(last):.1f} {y_of(points[last]):.1f}L{x_of(until):.1f} {y_of(ends[name]):.1f}"
        parts.append(f'<path d="M{measured}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<path d="M{beyond}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="5 4"/>')
        parts += [f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3" fill="{colour}"/>' for x, y in points.items()]
        label = min(label - 14, y_of(ends[name]) + 4)
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{label:.1f}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])
