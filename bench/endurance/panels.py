"""The plot of a long run: a small panel for each measure, from zero upwards, so that what is level looks level. Plain SVG."""

from collections.abc import Iterator, Sequence
from html import escape
from statistics import median

from bench.endurance.measures import Verdict
from bench.endurance.sample import Sample
from bench.plot import HEAD
from bench.results import figure

COLUMNS, WIDTH, HEIGHT = 3, 320, 150  # panels in a row; pixels of one with its title and margin
PLOT_WIDTH, PLOT_HEIGHT, LEFT, TOP = 250, 84, 52, 34  # pixels of the drawn part, and where it begins
LINE, MIDDLE, GRID, QUARTER, BAD = "#1f6f8b", "#c0603a", "#b8c4cc", "#f2f4f5", "#b00020"
HIGHEST = 4.0  # times the median: a time above is drawn at the edge, or one bad moment would flatten all others


def plot(samples: Sequence[Sample], verdicts: Sequence[Verdict], seconds: float, title: str) -> str:
    """All panels under a title."""
    rows = -(-len(verdicts) // COLUMNS)
    width, height = COLUMNS * WIDTH, 30 + rows * HEIGHT
    drawn = [f'<rect width="{width}" height="{height}" fill="white"/>']
    drawn.append(f'<text x="8" y="20" font-weight="bold">{escape(title)}</text>')
    for place, verdict in enumerate(verdicts):
        left, top = place % COLUMNS * WIDTH, 30 + place // COLUMNS * HEIGHT
        drawn += [f'<g transform="translate({left} {top})">', *panel(samples, verdict, seconds), "</g>"]
    return "\n".join([HEAD.format(width=width, height=height), *drawn, "</svg>", ""])


def panel(samples: Sequence[Sample], verdict: Verdict, seconds: float) -> Iterator[str]:
    """One measure: its values over time, and the medians that are compared, over their quarters."""
    name = verdict.measure.name
    points = [(sample.at, sample.values[name]) for sample in samples if name in sample.values]
    colour = BAD if verdict.level is False else "black"
    unit = f" ({verdict.measure.unit})" if verdict.measure.unit else ""
    yield f'<text x="8" y="16">{escape(name + unit)}</text>'
    yield f'<text x="{LEFT + PLOT_WIDTH}" y="16" text-anchor="end" fill="{colour}">{verdict.word}</text>'
    found = [value for _, value in points]
    highest = top_of(found, bounded=verdict.measure.timed)
    for quarter, value in ((0.25, verdict.second), (0.75, verdict.last)):
        x = LEFT + quarter * PLOT_WIDTH
        yield f'<rect x="{x:.1f}" y="{TOP}" width="{PLOT_WIDTH / 4:.1f}" height="{PLOT_HEIGHT}" fill="{QUARTER}"/>'
        if value is not None:
            y = height_of(value, highest)
            yield f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x + PLOT_WIDTH / 4:.1f}" y2="{y:.1f}" stroke="{MIDDLE}" stroke-width="2"/>'
    for value in (0.0, highest):
        y = height_of(value, highest)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + PLOT_WIDTH}" y2="{y:.1f}" stroke="{GRID}"/>'
        yield f'<text x="{LEFT - 4}" y="{y + 4:.1f}" text-anchor="end" font-size="10">{figure(value)}</text>'
    placed = " ".join(f"{LEFT + PLOT_WIDTH * at / seconds:.1f},{height_of(value, highest):.1f}" for at, value in points)
    yield f'<polyline points="{placed}" fill="none" stroke="{LINE}" stroke-width="1.2"/>'
    yield f'<text x="{LEFT + PLOT_WIDTH}" y="{TOP + PLOT_HEIGHT + 13}" text-anchor="end" font-size="10">{seconds / 60:g} min</text>'
    if found and max(found) > highest:
        yield f'<text x="{LEFT}" y="{TOP + PLOT_HEIGHT + 13}" font-size="10">cut off; at most {figure(max(found))}</text>'


def top_of(values: Sequence[float], *, bounded: bool) -> float:
    """The upper edge of a panel: the largest value, unless it is bounded and far above the others."""
    if not values:
        return 1.0
    return (min(max(values), HIGHEST * median(values)) if bounded else 0.0) or max(values) or 1.0


def height_of(value: float, highest: float) -> float:
    """Where a value is drawn."""
    return TOP + PLOT_HEIGHT * (1 - min(1.0, max(0.0, value / highest)))
