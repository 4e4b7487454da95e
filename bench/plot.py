# SPDX-License-Identifier: Apache-2.0
"""Plots as SVG, from nothing but strings: grouped bars and lines, both on logarithmic scales.

    bars:   a group of bars for each workload, one bar a system      lines:  one line a system and workload
            ┌ legend ─────────────────────────┐                             ┌─────────────────────────┐
            │ reads   ▇▇▇▇▇▇▇▇▇▇▇▇ 6.2 M      │                             │      ╱ label at its end │
            │         ▇▇▇ 1.4 M               │                             │ ────╱───── label        │
            └─────────────────────────────────┘                             └ 10 k ── 100 k ── 1 M ───┘

A plot has a ground of its own, so that it is read on light and dark pages alike; where the reader's system prefers dark
colours, the style sheet inside changes the classes. Colours belong to systems, in every plot the same. Nothing in a
plot depends on the machine that draws it, so the same figures give the same bytes.
"""

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

COLOURS = {
    "simdrive": "#1f6feb",
    "simdrive-map": "#54aeff",
    "lmdb": "#e08600",
    "leveldb": "#2da44e",
    "rocksdb": "#8957e5",
    "tkrzw": "#db61a2",
    "rust": "#a4744f",
}
OTHER_COLOUR = "#8b949e"
OWN = ("simdrive", "simdrive-map")

STYLE = """
    text { font-family: ui-sans-serif, system-ui, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 12px;
           fill: #1f2328; }
    .title { font-size: 17px; font-weight: 600; }
    .soft { fill: #59636e; }
    .small { font-size: 11px; }
    .strong { font-weight: 600; }
    .ground { fill: #ffffff; stroke: #d0d7de; }
    .grid { stroke: #e4e8ec; }
    .axis { stroke: #afb8c1; }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc; }
      .soft { fill: #9198a1; }
      .ground { fill: #0d1117; stroke: #3d444d; }
      .grid { stroke: #21262d; }
      .axis { stroke: #656c76; }
    }
"""

WIDTH = 860
MARGIN = 24
TITLE_HEIGHT = 62
LEGEND_HEIGHT = 26
AXIS_HEIGHT = 30


# --- scales and text -------------------------------------------------------------------------------------------------

def short(value):
    """Three digits and a suffix: 1.25 M, 43 k, 0.31."""
    for size, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k"), (1, "")):
        if abs(value) >= size:
            scaled = value / size
            return (f"{scaled:.0f}" if scaled >= 99.5 else f"{scaled:.3g}") + suffix
    return f"{value:.2g}"


class LogScale:
    """From values to places between `start` and `end`, with a little room before the least and behind the most."""

    def __init__(self, values, start, end, room=1.0):
        self.low = math.log10(min(values) / room)
        self.high = math.log10(max(values) * room)
        if self.high - self.low < 0.3:  # a flat line, or a single bar
            self.low, self.high = self.low - 0.5, self.high + 0.5
        self.start, self.end = start, end

    def __call__(self, value):
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self):
        """Powers of ten, and their doubles and fivefolds where there are too few."""
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        for steps in ((1,), (1, 2, 5)):
            ticks = [step * 10.0 ** exponent for exponent in decades for step in steps]
            ticks = [tick for tick in ticks if self.low - 1e-9 <= math.log10(tick) <= self.high + 1e-9]
            if len(ticks) > 2:
                break
        return ticks


def text_width(text, size=12):
    """About as wide as common fonts make it; nothing hangs on the last pixel."""
    return len(text) * size * 0.58


class Canvas:
    def __init__(self, width, height, title, description):
        self.width, self.height = width, height
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-labelledby="t d">',
            "  <!-- SPDX-License-Identifier: Apache-2.0 -->",
            f'  <title id="t">{escape(title)}</title>',
            f'  <desc id="d">{escape(description)}</desc>',
            f"  <style>{STYLE}  </style>",
            f'  <rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" class="ground"/>',
        ]

    def text(self, x, y, text, classes="", anchor="start"):
        of_class = f' class="{classes}"' if classes else ""
        at = f' text-anchor="{anchor}"' if anchor != "start" else ""
        self.parts.append(f'  <text x="{x:.1f}" y="{y:.1f}"{of_class}{at}>{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, classes):
        self.parts.append(f'  <line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{classes}"/>')

    def bar(self, x, y, width, height, colour):
        self.parts.append(f'  <rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}" rx="1.5" '
                          f'fill="{colour}"/>')

    def dot(self, x, y, colour):
        self.parts.append(f'  <circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{colour}"/>')

    def path(self, points, colour, dashed):
        way = " ".join(f"{'L' if i else 'M'}{x:.1f},{y:.1f}" for i, (x, y) in enumerate(points))
        dashes = ' stroke-dasharray="6 4"' if dashed else ""
        self.parts.append(f'  <path d="{way}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')

    def finish(self):
        return "\n".join(self.parts + ["</svg>"]) + "\n"


def colour_of(system):
    return COLOURS.get(system, OTHER_COLOUR)


def draw_head(canvas, title, subtitle):
    canvas.text(MARGIN, 32, title, "title")
    canvas.text(MARGIN, 51, subtitle, "soft")


def draw_legend(canvas, y, systems, titles):
    x = MARGIN
    for system in systems:
        canvas.bar(x, y - 10, 12, 12, colour_of(system))
        canvas.text(x + 18, y, titles.get(system, system), "strong" if system in OWN else "")
        x += 18 + text_width(titles.get(system, system)) + 22


# --- bars ------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Group:
    """A workload: what it is, and one value a system; more is better."""
    title: str
    name: str
    values: dict


LABELS_WIDTH = 216
VALUES_WIDTH = 62
BAR_HEIGHT = 12
BAR_STEP = 15
GROUP_GAP = 16
LEAST_BAR = 1.6  # the shortest bar ends at so many times where the scale begins


def group_height(group):
    return max(len(group.values), 2) * BAR_STEP + GROUP_GAP


def bars(title, subtitle, groups, titles):
    """`titles` names the systems, in the order of the bars."""
    groups = [group for group in groups if group.values]
    systems = [system for system in titles if any(system in group.values for group in groups)]
    top = TITLE_HEIGHT + LEGEND_HEIGHT
    bottom = top + sum(group_height(group) for group in groups)
    canvas = Canvas(WIDTH, bottom + AXIS_HEIGHT, title, subtitle)
    draw_head(canvas, title, subtitle)
    draw_legend(canvas, TITLE_HEIGHT + 14, systems, titles)
    values = [value for group in groups for value in group.values.values()]
    scale = LogScale(values, MARGIN + LABELS_WIDTH, WIDTH - MARGIN - VALUES_WIDTH, LEAST_BAR)
    for tick in scale.ticks():
        canvas.line(scale(tick), top, scale(tick), bottom, "grid")
        canvas.text(scale(tick), bottom + 17, short(tick), "soft small", "middle")
    y = top + GROUP_GAP / 2
    for group in groups:
        draw_group(canvas, scale, y, group, systems)
        y += group_height(group)
    canvas.line(scale.start, top, scale.start, bottom, "axis")
    return canvas.finish()


def draw_group(canvas, scale, y, group, systems):
    canvas.text(MARGIN, y + 10, group.title, "strong")
    canvas.text(MARGIN, y + 25, group.name, "soft small")
    for system in systems:
        if system not in group.values:
            continue
        value = group.values[system]
        canvas.bar(scale.start, y, scale(value) - scale.start, BAR_HEIGHT, colour_of(system))
        canvas.text(scale(value) + 5, y + 10, short(value), "small strong" if system in OWN else "small soft")
        y += BAR_STEP


# --- lines -----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Line:
    label: str
    system: str
    points: list  # pairs of x and y, both above 0
    dashed: bool = False


LINES_HEIGHT = 340
LINE_LABELS_WIDTH = 200
Y_AXIS_WIDTH = 52
LABEL_STEP = 15


def apart(places, step):
    """The same places, moved down as little as keeps them `step` apart, in order."""
    moved = []
    for place in places:
        moved.append(max(place, moved[-1] + step) if moved else place)
    return moved


def lines(title, subtitle, all_lines):
    all_lines = [line for line in all_lines if line.points]
    top, bottom = TITLE_HEIGHT + 12, TITLE_HEIGHT + 12 + LINES_HEIGHT
    canvas = Canvas(WIDTH, bottom + AXIS_HEIGHT + 6, title, subtitle)
    draw_head(canvas, title, subtitle)
    points = [point for line in all_lines for point in line.points]
    x = LogScale([point[0] for point in points], MARGIN + Y_AXIS_WIDTH, WIDTH - MARGIN - LINE_LABELS_WIDTH)
    y = LogScale([point[1] for point in points], bottom, top, 1.4)
    for tick in x.ticks():
        canvas.line(x(tick), top, x(tick), bottom, "grid")
        canvas.text(x(tick), bottom + 18, short(tick), "soft small", "middle")
    for tick in y.ticks():
        canvas.line(x.start, y(tick), x.end, y(tick), "grid")
        canvas.text(x.start - 8, y(tick) + 4, short(tick), "soft small", "end")
    canvas.line(x.start, bottom, x.end, bottom, "axis")
    for line in all_lines:
        draw_line(canvas, line, x, y)
    draw_line_labels(canvas, all_lines, x, y)
    return canvas.finish()


def draw_line(canvas, line, x, y):
    places = [(x(a), y(b)) for a, b in line.points]
    canvas.path(places, colour_of(line.system), line.dashed)
    for place in places:
        canvas.dot(*place, colour_of(line.system))


def draw_line_labels(canvas, all_lines, x, y):
    """To the right of the plot, at the height where each line ends, as far apart as text needs."""
    in_order = sorted(all_lines, key=lambda line: y(line.points[-1][1]))
    ends = [y(line.points[-1][1]) for line in in_order]
    for line, place in zip(in_order, apart(ends, LABEL_STEP)):
        canvas.bar(x.end + 14, place - 1.5, 14, 3, colour_of(line.system))
        canvas.text(x.end + 34, place + 4, line.label, "small strong" if line.system in OWN else "small soft")
