"""Draw docs/architecture.svg: which file of the package imports which, one layer of the design below the other.

    python scripts/draw_architecture.py [--check]

The imports are read from the source: those inside of functions, and those for type checkers only, count like all others.
Nothing is drawn, and the exit status is 2, where an import leads upwards, where files import each other, or where a file
is in no layer. With --check nothing is written, and the exit status is 1 where the picture is not what would be drawn.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "perf_event_open_sys"
PICTURE = "docs/architecture.svg"
# From the top down: what a layer is, and its files and folders. A file imports from its own layer and from those below.
LAYERS = [
    ("the program", ["__main__"]),
    ("its subcommands", ["_cli"]),
    ("what is exported", ["__init__"]),
    ("event names, targets, files", ["events", "targets", "perf_data"]),
    ("events that are open", ["records", "_walk", "_numpy", "ring", "counters", "ioctls"]),
    (
        "structs and errors",
        ["bindings", "_pointers", "_mappings", "_buffers", "_memory", "_capi", "errors", "_diagnose"],
    ),
    ("C, and helpers for all above (without arrows)", ["_native", "_cdef", "_files", "_names", "_namedtuple"]),
]
HELPERS = {"_cdef", "_files", "_names", "_namedtuple"}  # they import nothing
LAYER_OF = {name: layer for layer, (_, names) in enumerate(LAYERS) for name in names}
TITLES = {"__init__": PACKAGE, "_native": "_native: ffi, lib"}


class RulesBroken(Exception):
    """The imports break rules; a line for each place."""


class Import(NamedTuple):
    """An import of a file by another one: both are paths below the package, without suffix."""

    importer: str
    line: int
    imported: str

    def __str__(self) -> str:
        return f"{PACKAGE}/{self.importer}.py:{self.line} imports {self.imported}"


def read_imports(root: Path) -> tuple[list[str], list[Import]]:
    """Return the package's files, and what each imports of the others."""
    package = root / PACKAGE
    paths = sorted(package.rglob("*.py"))
    files = [str(path.relative_to(package).with_suffix("")) for path in paths]
    known = {*files, "_native"}
    found = []
    for name, path in zip(files, paths, strict=True):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            for target in _targets(node, name, known):
                if target != name:  # bindings.py imports types from its own stub
                    found.append(Import(name, getattr(node, "lineno", 0), target))
    return files, sorted(set(found))


def _targets(node: ast.AST, importer: str, known: set[str]) -> Iterator[str]:
    """Yield the files of the package that a statement imports."""
    if isinstance(node, ast.Import):
        dotted = [alias.name.split(".") for alias in node.names]
        candidates = [parts[1:] for parts in dotted if parts[0] == PACKAGE]
    elif isinstance(node, ast.ImportFrom):
        module = node.module.split(".") if node.module else []
        if node.level:
            base = importer.split("/")[: -node.level] + module
        elif module[:1] == [PACKAGE]:
            base = module[1:]
        else:
            return
        candidates = [[*base, alias.name] for alias in node.names]
    else:
        return
    for parts in candidates:
        # The name after "import" may be a file, a folder, or something that is defined in the one before.
        for path in (
            "/".join(parts),
            "/".join([*parts, "__init__"]),
            "/".join(parts[:-1]),
            "/".join([*parts[:-1], "__init__"]),
        ):
            if path in known:
                yield path
                break


def box_of(file: str) -> str:
    """Return what stands for a file in the picture: the file, or its folder."""
    return file.split("/")[0]


def broken_rules(files: list[str], imports: list[Import]) -> list[str]:
    """Return a line for each file without a layer, each import that leads upwards, and each circle of imports."""
    homeless = [name for name in files if box_of(name) not in LAYER_OF]
    broken = [
        f"{PACKAGE}/{name}.py is in no layer: add it to LAYERS of scripts/draw_architecture.py" for name in homeless
    ]
    for found in imports:
        ends = LAYER_OF.get(box_of(found.importer)), LAYER_OF.get(box_of(found.imported))
        if ends[0] is not None and ends[1] is not None and ends[0] > ends[1]:
            names = [LAYERS[layer][0] for layer in ends if layer is not None]
            broken.append(f"{found}, which is in a higher layer ({names[1]!r} is above {names[0]!r})")
    edges: dict[str, set[str]] = {name: set() for name in [*files, "_native"]}
    for found in imports:
        edges[found.importer].add(found.imported)
    reach = {name: _reachable(name, edges) for name in edges}
    for name in sorted(edges):
        circle = sorted(other for other in reach[name] if name in reach[other])
        if circle and name == circle[0]:
            broken.append(f"these import each other: {', '.join(circle)}")
    return broken


def _reachable(start: str, edges: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    left = [start]
    while left:
        new = edges[left.pop()] - seen
        seen |= new
        left += new
    return seen


def arrows(imports: list[Import]) -> dict[str, set[str]]:
    """Return the arrows between boxes, but for those to helpers, and those that follow from others (a -> c, a -> b -> c)."""
    edges: dict[str, set[str]] = {"_native": set()}
    for found in imports:
        ends = box_of(found.importer), box_of(found.imported)
        for end in ends:
            edges.setdefault(end, set())
        if ends[0] != ends[1] and ends[1] not in HELPERS:
            edges[ends[0]].add(ends[1])
    reach = {name: _reachable(name, edges) for name in edges}
    return {name: {to for to in edges[name] if not any(to in reach[via] for via in edges[name])} for name in edges}


# The picture, in pixels.
WIDTH, MARGIN, LABEL, GAP, LINE, PAD = 1000, 16, 150, 22, 15, 12
ROW_GAP, BAND_GAP, GLYPH = 34, 18, 7.3
COLORS = ["#7b4fa3", "#3565b5", "#2a7f8f", "#2f8a4c", "#a86a14", "#b5473c", "#555f6b"]


class Box:
    """A box, or a point that an arrow passes on its way through a row."""

    def __init__(self, title: str, lines: list[str], layer: int) -> None:
        self.title, self.lines, self.layer = title, lines, layer
        longest = max([len(title) * GLYPH * 1.08, *(len(line) * GLYPH * 0.86 for line in lines)])
        self.width = round(longest + 2 * PAD) if title else 4
        self.height = 2 * PAD - 4 + LINE * (1 + len(lines)) if title else 0
        self.x = self.y = 0.0

    @property
    def middle(self) -> float:
        """The x of its middle."""
        return self.x + self.width / 2


def _wrapped(words: list[str], width: int) -> list[str]:
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def boxes(files: list[str], sources: list[str], edges: dict[str, set[str]]) -> dict[str, Box]:
    """Return a box for each file and folder, a folder's with the names of its files."""
    made = {}
    for name in sorted({*map(box_of, files), *edges}):
        inside = [file.split("/", 1)[1] for file in files if file.startswith(f"{name}/")]
        words = [part for part in inside if part != "__init__"]
        if name == "_native":
            words = ["cdefs/", *sources]
        title = TITLES.get(name, name)
        made[name] = Box(title + ("/" if inside else ""), _wrapped(words, 46) if words else [], LAYER_OF[name])
    return made


def rows(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return the boxes from the top down: one row after the other, each below all that import it."""
    depth: dict[str, int] = {}

    def below(name: str) -> int:
        """Return how many rows of its layer are below a box."""
        if name not in depth:
            own = [below(to) + 1 for to in edges[name] if LAYER_OF[to] == LAYER_OF[name]]
            depth[name] = max(own, default=0)
        return depth[name]

    found = sorted({(LAYER_OF[name], -below(name)) for name in edges})
    return [sorted(name for name in edges if (LAYER_OF[name], -depth[name]) == row) for row in found]


def place(grid: list[list[str]], edges: dict[str, set[str]], made: dict[str, Box]) -> tuple[list[list[str]], int]:
    """Give each box its place; return the points of each arrow, those in between included, and the height of all."""
    row_of = {name: at for at, names in enumerate(grid) for name in names}
    paths, links = [], []
    for name in sorted(edges):
        for to in sorted(edges[name], key=lambda other: (row_of[other], other)):
            path = [name]
            for at in range(row_of[name] + 1, row_of[to]):
                point = f"{name}>{to}@{at}"
                made[point] = Box("", [], made[grid[at][0]].layer)
                grid[at].append(point)
                path.append(point)
            path.append(to)
            paths.append(path)
            links += pairwise(path)
    for sweep in range(24):  # order each row by the middle of its neighbours above, then below, and so on
        for row in grid if sweep % 2 else reversed(grid):
            for name in row:
                near = [a if b == name else b for a, b in links if name == (b if sweep % 2 else a)]
                if near:
                    made[name].y = sum(made[other].middle for other in near) / len(near)
                else:
                    made[name].y = made[name].middle
            row.sort(key=lambda name: made[name].y)
            taken = sum(made[name].width for name in row) + GAP * (len(row) - 1)
            x = LABEL + (WIDTH - LABEL - taken) / 2
            for name in row:
                made[name].x = x
                x += made[name].width + GAP
    y, layer = float(MARGIN), made[grid[0][0]].layer
    for row in grid:
        if made[row[0]].layer != layer:
            layer = made[row[0]].layer
            y += BAND_GAP
        height = max(made[name].height for name in row)
        for name in row:
            made[name].y = y + (height - made[name].height) / 2
        y += height + ROW_GAP
    return paths, round(y - ROW_GAP + MARGIN)


def draw(root: Path) -> str:
    """Return the picture.

    Raises:
        RulesBroken: nothing is drawn.
    """
    files, imports = read_imports(root)
    if broken := broken_rules(files, imports):
        raise RulesBroken("\n".join(broken))
    edges = arrows(imports)
    for name in map(box_of, files):
        edges.setdefault(name, set())
    made = boxes(files, sorted(path.name for path in root.glob("cdefs/*.c")), edges)
    paths, height = place(rows(edges), edges, made)
    out = [
        f"<!-- drawn by scripts/draw_architecture.py from the imports of {PACKAGE}/: do not edit -->",
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="12">',
        f"<title>The layers of {PACKAGE}: an arrow leads from a file to one that it imports</title>",
        "<style>svg { fill: #1f2328 } .paper { fill: #fff }",
        "@media (prefers-color-scheme: dark) { svg { fill: #e6e8ea } .paper { fill: #16181b } }</style>",
        f'<rect width="{WIDTH}" height="{height}" class="paper"/>',
    ]
    for layer, (label, _) in enumerate(LAYERS):
        own = [box for box in made.values() if box.layer == layer and box.title]
        if not own:
            continue
        top, bottom = min(box.y for box in own) - 9, max(box.y + box.height for box in own) + 9
        out.append(
            f'<rect x="4" y="{top:g}" width="{WIDTH - 8}" height="{bottom - top:g}" fill="{COLORS[layer]}" opacity="0.08"/>'
        )
        for at, line in enumerate(_wrapped(label.split(), 18)):
            out.append(f'<text x="12" y="{top + 19 + at * LINE:g}" fill="{COLORS[layer]}">{escape(line)}</text>')
    out += [_arrow([made[name] for name in path]) for path in paths]
    out += [_drawn(box) for box in made.values() if box.title]
    return "\n".join([*out, "</svg>", ""])


def _arrow(path: list[Box]) -> str:
    color = COLORS[path[0].layer]
    steps = [f"M{path[0].middle:g} {path[0].y + path[0].height:g}"]
    for before, after in pairwise(path):
        top, bottom = before.y + before.height, after.y - (4 if after.title else 0)
        bend = (bottom - top) / 2
        steps.append(
            f"C{before.middle:g} {top + bend:g} {after.middle:g} {bottom - bend:g} {after.middle:g} {bottom:g}"
        )
    x, y = path[-1].middle, path[-1].y
    head = f'<path d="M{x - 4:g} {y - 8:g} L{x + 4:g} {y - 8:g} L{x:g} {y:g} Z" fill="{color}"/>'
    return f'<path d="{" ".join(steps)}" fill="none" stroke="{color}" stroke-width="1.3"/>{head}'


def _drawn(box: Box) -> str:
    texts = [
        f'<text x="{box.middle:g}" y="{box.y + PAD + 8:g}" text-anchor="middle" font-size="13">{escape(box.title)}</text>'
    ]
    for at, line in enumerate(box.lines, 1):
        y = box.y + PAD + 8 + at * LINE
        kind = 'text-anchor="middle" font-size="10.5" fill-opacity="0.75"'
        texts.append(f'<text x="{box.middle:g}" y="{y:g}" {kind}>{escape(line)}</text>')
    frame = f'x="{box.x:g}" y="{box.y:g}" width="{box.width}" height="{box.height}" rx="5"'
    return f'<rect {frame} class="paper" stroke="{COLORS[box.layer]}"/>{"".join(texts)}'


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Draw the picture, or check it; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the picture is not up to date")
    check = parser.parse_args(arguments).check
    try:
        picture = draw(root)
    except RulesBroken as error:
        print(error, file=sys.stderr)
        return 2
    path = root / PICTURE
    if check:
        if not path.exists() or path.read_text() != picture:
            print(f"{PICTURE} is not up to date: run scripts/draw_architecture.py", file=sys.stderr)
            return 1
    else:
        path.write_text(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
