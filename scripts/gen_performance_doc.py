"""Writes the figures into docs/performance.md, and docs/images/density.svg, from docs/performance*.json.

python scripts/bench.py all --json docs/performance.json
python scripts/bench.py all --against URL --json docs/performance-NAME.json    # further files: other services
python scripts/gen_performance_doc.py
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.benches.report import cells

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
BEGIN: Final = "<!-- written by scripts/gen_performance_doc.py -->\n"
END: Final = "<!-- end -->\n"
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 380, 70, 40, 20, 60


def render(runs: dict[str, dict[str, Any]]) -> tuple[str, str | None]:
    """The section of the page, and the plot if a run has the curve. `runs` by the names of their files."""
    plot = next((svg for run in runs.values() if (svg := density(run["figures"]))), None)
    sections = [_section(name.removeprefix("performance").lstrip("-"), run) for name, run in runs.items()]
    if plot is not None:
        sections.append("![Time of a page load by contexts in one process](images/density.svg)\n\n")
    return "".join(sections), plot


def _section(other: str, run: dict[str, Any]) -> str:
    if run["quick"]:
        raise SystemExit("A run with --quick has no figures worth publishing.")
    machine = run["machine"]
    title = f"With {other} as the other service" if other else "This service"
    circumstances = (
        f"`{run['command']}`: {machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB, load "
        f"average before {machine['load_before']}; {machine['browser']}, Playwright {machine['playwright']}, Python "
        f"{machine['python']}."
    )
    lines = [
        f"### {title}, {run['date']}\n",
        f"{circumstances}\n",
        "| bench | figure | | measured | compared with | | ratio | goal | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in run["figures"]:
        quantile, measured, base, ratio, goal = cells(each)
        result = {True: "met", False: "**missed**", None: ""}[each["met"]]
        row = (each["bench"], each["what"], quantile, measured, each["compared"] or "", base, ratio, goal, result)
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n\n"


def density(figures: list[dict[str, Any]]) -> str | None:
    """The p95 of page loads by contexts in one process, and twice that of one alone, as SVG."""
    points: list[tuple[int, float, float]] = [
        (each["at"], each["ours"], each["base"]) for each in figures if each["at"] is not None
    ]
    if not points:
        return None
    limit = 2 * points[0][2]
    most, top = max(at for at, _, _ in points), 1.1 * max(limit, *(ms for _, ms, _ in points))

    def x(at: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * at / most, 1)

    def y(ms: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * ms / top, 1)

    def text(left: float, baseline: float, words: str, anchor: str = "middle") -> str:
        return f'<text x="{left}" y="{baseline}" text-anchor="{anchor}">{words}</text>'

    def line(start: tuple[float, float], end: tuple[float, float], colour: str, dashes: str = "none") -> str:
        ends = f'x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}"'
        return f'<line {ends} stroke="{colour}" stroke-dasharray="{dashes}"/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(WIDTH / 2, 22, "goto of a small page, p95 in ms, by contexts in one process"),
        text(WIDTH / 2, HEIGHT - 14, "contexts; each loads a page every two seconds"),
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(line((LEFT, y(top * share)), (WIDTH - RIGHT, y(top * share)), "#ddd"))
        parts.append(text(LEFT - 8, y(top * share) + 4, f"{top * share:.0f}", "end"))
    parts.append(line((LEFT, y(limit)), (WIDTH - RIGHT, y(limit)), "#c00", "6 4"))
    parts.append(text(LEFT + 4, y(limit) - 6, "twice that of one alone", "start"))
    path = " ".join(f"{x(at)},{y(ms)}" for at, ms, _ in points)
    parts.append(f'<polyline points="{path}" fill="none" stroke="#06c" stroke-width="2"/>')
    for at, ms, _ in points:
        parts.append(f'<circle cx="{x(at)}" cy="{y(ms)}" r="4" fill="#06c"/>')
        parts.append(text(x(at), HEIGHT - BOTTOM + 20, str(at)))
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is not up to date")
    options = parser.parse_args(arguments)
    page, picture = DOCS / "performance.md", DOCS / "images" / "density.svg"
    files = sorted(DOCS.glob("performance*.json"), key=lambda file: file.stem)
    section, plot = render({file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files})
    text = page.read_text(encoding="utf-8")
    before, _, after = text.partition(BEGIN)
    written = f"{before}{BEGIN}\n{section}{END}{after.partition(END)[2]}"
    if options.check:
        same = text == written and (plot is None or (picture.exists() and picture.read_text(encoding="utf-8") == plot))
        return 0 if same else 1
    page.write_text(written, encoding="utf-8")
    if plot is not None:
        picture.write_text(plot, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
