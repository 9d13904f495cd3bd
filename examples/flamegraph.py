"""Draw folded stacks as a flame graph: ``flamegraph.py < stacks.folded > flames.svg``.

A line of the input is ``outermost;…;innermost COUNT``. A frame is as wide as the part of the samples it is in; hovering
over one shows its name and that part.
"""

import html
import itertools
import sys
import zlib
from collections.abc import Iterable, Iterator

WIDTH, HEIGHT, LETTER = 1200, 17, 7.0  # of the picture, of a frame, of a letter: in pixels
Stack = tuple[tuple[str, ...], int]


def frames(stacks: list[Stack], x: int = 0, depth: int = 0) -> Iterator[tuple[int, int, int, str]]:
    """Yield (depth, first sample, samples, name) of each frame; *stacks* are sorted, and alike up to *depth*."""
    for name, group in itertools.groupby(stacks, lambda stack: stack[0][depth]):
        inside = list(group)
        samples = sum(count for _, count in inside)
        yield depth, x, samples, name
        deeper = [stack for stack in inside if len(stack[0]) > depth + 1]
        yield from frames(deeper, x, depth + 1)
        x += samples


def flame_graph(stacks: dict[str, int]) -> str:
    """Return an SVG of folded stacks and their counts; the outermost frame is at the bottom."""
    total = sum(stacks.values())
    rows = sorted((("all", *stack.split(";")), count) for stack, count in stacks.items())
    found = list(frames(rows))
    scale, floor = WIDTH / max(total, 1), HEIGHT * max((depth for depth, *_ in found), default=0)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {floor + HEIGHT}">',
        "<style>text { font: 12px monospace } g:hover rect { stroke: black }</style>",
        f'<rect width="{WIDTH}" height="{floor + HEIGHT}" fill="white"/>',
    ]
    for depth, first, samples, name in found:
        x, y, width = first * scale, floor - depth * HEIGHT, samples * scale
        if width < 0.2:  # less than can be seen
            continue
        colour = zlib.crc32(name.encode())  # a function has the same colour wherever it is
        fill = f"hsl({200 if name.endswith('_[k]') else colour % 50},80%,{60 + colour % 13}%)"
        title = html.escape(f"{name}: {samples} samples, {samples / total:.2%}")
        room = int((width - 4) / LETTER)
        text = html.escape(name if len(name) <= room else f"{name[: room - 1]}…") if room > 2 else ""
        lines.append(
            f'<g><title>{title}</title><rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{HEIGHT - 1}" fill="{fill}"/>'
            f'<text x="{x + 3:.1f}" y="{y + 12}">{text}</text></g>'
        )
    return "\n".join([*lines, "</svg>\n"])


def read_folded(lines: Iterable[str]) -> dict[str, int]:
    """Return the stacks of folded lines, with their counts."""
    pairs = (line.rsplit(None, 1) for line in lines if line.strip())
    return {stack: int(count) for stack, count in pairs}


if __name__ == "__main__":
    sys.stdout.write(flame_graph(read_folded(sys.stdin)))
