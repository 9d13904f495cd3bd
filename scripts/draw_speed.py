"""Write the table of docs/guides/speed.md and draw docs/pictures/speed.svg from a run of the benchmarks.

python scripts/draw_speed.py [FILE]    # FILE is what benchmarks/run.py --json has printed; without it, that is run
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

from svg import path, picture, rect, text

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
from measure import shown, shown_ratio  # noqa: E402 - the path to it is known only now

PAGE, PICTURE = ROOT / "docs/guides/speed.md", ROOT / "docs/pictures/speed.svg"


def bars(rows: list[dict[str, Any]]) -> str:
    """Return the picture of the ratios on a logarithmic scale: to the left of 1 are those that take less time."""
    ratios, left, right, step = [row["ratio"] for row in rows], 30, 730, 42
    low, high = floor(log10(min(ratios))), ceil(log10(max(ratios)))

    def x(ratio: float) -> float:
        return left + (log10(ratio) - low) / (high - low) * (right - left)

    bottom = 50 + len(rows) * step
    parts = [text(left, 24, "time, as a multiple of the baseline's", "title")]
    for power in range(low, high + 1):
        label = f"{10**power:g} x" if power >= 0 else f"1/{10**-power}"
        parts += [
            path(f"M{x(10**power):.1f} 40 V{bottom}", "line"),
            text(x(10**power), bottom + 18, label, "small faint middle"),
        ]
    for at, row in enumerate(rows):
        y, start, end = 48 + at * step, min(x(1), x(row["ratio"])), max(x(1), x(row["ratio"]))
        parts.append(text(left, y + 12, f"{row['what']}, beside {row['baseline']}", "small"))
        parts.append(
            rect(start, y + 17, max(end - start, 2), 12, "c" if row["ratio"] < 1 else "a", shown_ratio(row["ratio"]))
        )
    parts.append(path(f"M{x(1):.1f} 40 V{bottom}", "ink"))
    return picture(Path(__file__).name, "Ratios of the benchmarks", 760, bottom + 32, parts)


def markdown(measured: dict[str, Any]) -> str:
    """Return the table of a run, and what it was run on."""
    lines = [f"CPython {measured['python']}, Linux {measured['kernel'].split('-')[0]}, {measured['machine']}:", ""]
    lines += ["| what | takes | beside | takes | ratio |", "| --- | --- | --- | --- | --- |"]
    for row in measured["rows"]:
        cells = row["what"], shown(row["ns"]), row["baseline"], shown(row["baseline_ns"]), shown_ratio(row["ratio"])
        what, *others = cells
        unbroken = [one.replace(" ", "\N{NO-BREAK SPACE}") if one[:1].isdigit() else one for one in others]
        lines.append("| " + " | ".join([what, *unbroken]) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Run the benchmarks, unless their output is given, and write the page and the picture."""
    if sys.argv[1:]:
        output = Path(sys.argv[1]).read_text()
    else:
        run = [sys.executable, str(ROOT / "benchmarks/run.py"), "--json"]
        output = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    measured = json.loads(output)
    PICTURE.write_text(bars(measured["rows"]))
    between = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- end -->)", re.S)
    PAGE.write_text(between.sub(lambda _: markdown(measured), PAGE.read_text()))


if __name__ == "__main__":
    main()
