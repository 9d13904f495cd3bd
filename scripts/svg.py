"""What the pictures of docs/ have in common: their colours, in light and dark, and a few shapes."""

from __future__ import annotations

from html import escape

# A picture follows the reader's colour scheme, and brings its own background: it stays readable on a page of the other.
STYLE = """<style>
svg { --paper: #fff; --ink: #1f2328; --faint: #59636e; --line: #d0d7de; --a: #3565b5; --b: #b06a00; --c: #2f8a4c }
@media (prefers-color-scheme: dark) {
  svg { --paper: #16181b; --ink: #e6e8ea; --faint: #9aa4af; --line: #3c434b; --a: #7aa7f0; --b: #e5a550; --c: #6cc788 }
}
text { fill: var(--ink); font: 14px sans-serif } .faint { fill: var(--faint) } .small { font-size: 12px }
.title { font-weight: bold } .mono { font-family: monospace } .middle { text-anchor: middle } .end { text-anchor: end }
.line { stroke: var(--line); fill: none } .ink { stroke: var(--ink); fill: none }
.a { fill: var(--a) } .b { fill: var(--b) } .c { fill: var(--c) } .room { fill: var(--line) }
</style>"""


def picture(script: str, title: str, width: int, height: int, parts: list[str]) -> str:
    """Return an SVG of *width* by *height* pixels, which says by its title what is to be seen."""
    return "\n".join(
        [
            f"<!-- drawn by scripts/{script}: do not edit -->",
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
            f"<title>{escape(title)}</title>",
            STYLE,
            f'<rect width="{width}" height="{height}" rx="6" style="fill: var(--paper)"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Return a line of text; *kind* are classes of the style."""
    return f'<text x="{x:g}" y="{y:g}"{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{escape(words)}</text>'


def rect(x: float, y: float, width: float, height: float, kind: str, tip: str = "") -> str:
    """Return a box; *tip* is shown when the mouse is over it."""
    inside = f"<title>{escape(tip)}</title>" if tip else ""
    return f'<rect x="{x:.5g}" y="{y:.5g}" width="{width:.5g}" height="{height:.5g}" class="{kind}">{inside}</rect>'


def path(steps: str, kind: str, more: str = "") -> str:
    """Return a path of SVG's commands."""
    return f'<path d="{steps}" class="{kind}"{more}/>'
