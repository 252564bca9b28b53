"""The plot: a bar a side and metric, as long as its median, with the spread of its repeats drawn over it. Plain SVG."""

from collections.abc import Iterator, Sequence
from html import escape

from bench.results import Figures, figure

WIDTH, LABEL, BAR = 960, 320, 440  # pixels: of all, of the names, of the longest bar
ROW, GAP, TITLE = 18, 14, 24  # heights
OURS, OTHERS, SPREAD = "#1f6f8b", "#b8c4cc", "#333333"

HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
)


def plot(found: Sequence[Figures]) -> str:
    """All workloads under each other, one group of bars for each metric."""
    drawn: list[str] = []
    top = GAP
    for figures in found:
        for metric in figures.metrics:
            sides = list(dict.fromkeys(side for side, of in figures.values if of == metric))
            if not sides:
                continue
            title = f"{figures.workload}: {metric} ({figures.metrics[metric].unit})"
            drawn.append(f'<text x="8" y="{top + 12}" font-weight="bold">{escape(title)}</text>')
            top += TITLE
            longest = max(max(figures.values[side, metric]) for side in sides) or 1.0
            for side in sides:
                drawn += row(side, figures.values[side, metric], figures.median(side, metric) or 0.0, longest, top)
                top += ROW
            top += GAP
    background = f'<rect width="{WIDTH}" height="{top}" fill="white"/>'
    return "\n".join([HEAD.format(width=WIDTH, height=top), background, *drawn, "</svg>", ""])


def row(side: str, values: Sequence[float], median: float, longest: float, top: int) -> Iterator[str]:
    """One bar with its name, its spread and its number."""
    middle = top + ROW // 2
    colour = OURS if side.startswith("makegood") else OTHERS
    least, most = (LABEL + BAR * value / longest for value in (min(values), max(values)))
    yield f'<text x="{LABEL - 8}" y="{middle + 4}" text-anchor="end">{escape(side)}</text>'
    yield f'<rect x="{LABEL}" y="{top + 2}" width="{BAR * median / longest:.1f}" height="{ROW - 4}" fill="{colour}"/>'
    yield f'<line x1="{least:.1f}" y1="{middle}" x2="{most:.1f}" y2="{middle}" stroke="{SPREAD}" stroke-width="2"/>'
    yield f'<text x="{LABEL + BAR + 12}" y="{middle + 4}">{figure(median)}</text>'
