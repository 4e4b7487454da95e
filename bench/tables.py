# SPDX-License-Identifier: Apache-2.0
"""Results as Markdown: tables of all systems side by side, what is said below them, and the blocks of the pages.

Cells are medians over the rounds, the best of a row in bold. "To best peer" compares this library's default mode with
that peer whose median is best, round by round; where the mode with mapped appends was measured, it stands behind.
Spreads of all cells are in a table of their own, for whoever wants to judge a difference.
"""

import re

from results import OWN, RUST, changes, median, present
from systems import TITLES
from workloads import (BY_NAME, GROUPS, PERCENTILES, PLAIN_METRICS, SPACE_METRICS, metric_title, percentile_of,
                       unit_of)

NOTHING = "–"
MAIN_METRICS = PLAIN_METRICS + ("reads", "writes", "saving", "longest turn")
MIXED_PERCENTILES = ("p99", "p99.9")  # of twelve workloads all four would be a wall
TIME_UNITS = (("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1))
IN_NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6}


# --- cells -----------------------------------------------------------------------------------------------------------

def number(value):
    size = abs(value)
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.095 or size == 0 else f"{value:.1g}"


def duration(nanoseconds):
    for unit, size in TIME_UNITS:
        if nanoseconds >= size or size == 1:
            return f"{number(nanoseconds / size)} {unit}"
    return NOTHING


def spread(values, divisor=1):
    there = sorted(value / divisor for value in present(values))
    if len(there) == 1:
        return number(there[0])
    return f"{number(median(there))} ({number(there[0])} to {number(there[-1])})"


def row_of(cells):
    return "| " + " | ".join(cells) + " |"


def table(head, rows, left=1):
    """Numbers to the right, the first `left` columns to the left."""
    lines = [row_of(head), "|" + "---|" * left + "---:|" * (len(head) - left)]
    return "\n".join(lines + [row_of(cells) for cells in rows])


def peers_of(systems):
    return [name for name in systems if name not in OWN and name != RUST]


def ratio_cell(figure, against):
    """Default mode, then the mapped mode where it was measured."""
    default, mapped = (figure.ratios(own, against) for own in OWN)
    cell = spread(default) if default else NOTHING
    return cell + (f"; map {number(median(mapped))}" if mapped else "")


def to_best_peer(figure, systems):
    best = figure.best(peers_of(systems))
    cell = ratio_cell(figure, best) if best else NOTHING
    return cell if cell == NOTHING else f"{cell}, {TITLES[best]}"


def value_cells(figure, systems, write):
    middles = [figure.median(system) for system in systems]
    alone = len(present(middles)) < 2
    best = None if alone else figure.best(systems)
    cells = [NOTHING if middle is None else write(middle) for middle in middles]
    return [f"**{cell}**" if system == best else cell for system, cell in zip(systems, cells)]


def write_in(unit):
    return lambda value: number(value / unit_of(unit).divisor)


# --- tables ----------------------------------------------------------------------------------------------------------

def order(figure):
    names = list(BY_NAME)
    place = names.index(figure.workload) if figure.workload in BY_NAME else len(names)
    percentile = percentile_of(figure.metric)
    if percentile is None:
        return (place, "", -1)
    return (place, figure.metric[:-len(percentile)], PERCENTILES.index(percentile))


def ordered(figures):
    return sorted(figures, key=order)


def what(figure):
    workload = BY_NAME.get(figure.workload)
    title = workload.title if workload else ""
    return title if figure.metric in PLAIN_METRICS else f"{title}: {metric_title(figure.metric)}"


def measured(figures, systems):
    return [system for system in systems if any(figure.median(system) is not None for figure in figures)]


def columns(systems, all_systems):
    """Heads, with the numbers of the notes below; all that are measured anywhere have one."""
    heads = [f"{TITLES.get(system, system)} <sup>{all_systems.index(system) + 1}</sup>" for system in systems]
    return heads + (["to best peer"] if peers_of(systems) else []) + (["to Rust original"] if RUST in systems else [])


def comparison(figure, systems):
    return ([to_best_peer(figure, systems)] if peers_of(systems) else []) \
        + ([ratio_cell(figure, RUST)] if RUST in systems else [])


def figures_table(figures, all_systems):
    systems, rows = measured(figures, all_systems), []
    for figure in ordered(figures):
        rows.append([figure.workload, what(figure), unit_of(figure.unit).title]
                    + value_cells(figure, systems, write_in(figure.unit)) + comparison(figure, systems))
    return table(["", "", "unit"] + columns(systems, all_systems), rows, left=3)


def shown_latency(figure):
    """Latencies of the mixed workloads: the rarer half of the percentiles."""
    workload = BY_NAME.get(figure.workload)
    mixed = workload is not None and workload.group == "mixed"
    return figure.is_latency() and figure.unit in IN_NANOSECONDS \
        and (not mixed or figure.metric in MIXED_PERCENTILES)


def latency_table(figures, all_systems):
    systems, rows = measured(figures, all_systems), []
    for figure in ordered(figures):
        to_nanoseconds = IN_NANOSECONDS[figure.unit]
        rows.append([figure.workload, what(figure)]
                    + value_cells(figure, systems, lambda value, by=to_nanoseconds: duration(value * by))
                    + comparison(figure, systems))
    return table(["", ""] + columns(systems, all_systems), rows, left=2)


def spread_table(figures, systems):
    rows = []
    for figure in ordered(figures):
        unit = unit_of(figure.unit)
        rows.append([figure.workload, metric_title(figure.metric), unit.title]
                    + [spread(figure.of(system), unit.divisor) if present(figure.of(system)) else NOTHING
                       for system in systems])
    return table(["", "", "unit"] + [TITLES.get(system, system) for system in systems], rows, left=3)


# --- what is said around them ----------------------------------------------------------------------------------------

def machine_lines(about):
    machine = about.get("machine", {})
    where = [f"{machine.get('processor', 'unknown processor')}, {machine.get('processors', '?')} processors"]
    if machine.get("flags"):
        where.append("with " + " ".join(machine["flags"]))
    if machine.get("memory_mib"):
        where.append(f"{machine['memory_mib'] / 1024:.0f} GiB of memory")
    where += [f"{title} {machine[name]}" for name, title in
              (("file_system", "file system"), ("kernel", ""), ("huge_pages", "huge pages:"), ("compiler", ""),
               ("rustc", "")) if machine.get(name)]
    libraries = ", ".join(f"{name} {version}" for name, version in machine.get("libraries", {}).items())
    lines = ["The machine: " + ", ".join(part.strip() for part in where) + "."]
    if libraries:
        lines.append(f"Libraries: {libraries}.")
    lines.append(f"{machine.get('date', '')}, commit {machine.get('revision', 'unknown')}; load before "
                 f"{machine.get('load_before', '?')}, after {machine.get('load_after', '?')}.")
    return lines


def method_line(about):
    warm = ", after one to warm up" if about.get("warm_up") else ""
    return f"{about.get('rounds', '?')} rounds{warm}, at scale {about.get('scale', '?')}. Medians; the best in bold."


def notes(about, systems):
    settings = about.get("settings", {})
    return "\n".join(f"{i}. {TITLES.get(system, system)}: {settings.get(system) or 'says nothing of its settings'}"
                     for i, system in enumerate(systems, 1))


def behind(results, systems):
    """Where the best peer is ahead of each of our modes, said in a sentence."""
    peers = peers_of(systems) + ([RUST] if RUST in systems else [])
    found = []
    for figure in ordered(results.figures()):
        best = figure.best(peers)
        if figure.metric not in MAIN_METRICS or figure.entries is not None or best is None:
            continue
        ours = [median(figure.ratios(own, best)) for own in OWN if figure.ratios(own, best)]
        if ours and max(ours) < 1:
            rest = "" if figure.metric in PLAIN_METRICS else f" ({metric_title(figure.metric)})"
            found.append(f"{figure.workload}{rest}: {number(max(ours))} of {TITLES[best]}")
    if not found:
        return "No peer is ahead in any row."
    return "Behind the best of the others, whatever the mode: " + "; ".join(found) + "."


# --- whole reports ---------------------------------------------------------------------------------------------------

def plain(results):
    return [figure for figure in results.figures() if figure.entries is None]


def group_of(figure):
    workload = BY_NAME.get(figure.workload)
    return workload.group if workload else None


def report(results, plots=()):
    """Everything about a run, as docs/benchmarks.md has it. `plots` are pairs of title and file name."""
    systems, figures = results.systems(), plain(results)
    parts = ["\n".join([method_line(results.about)] + machine_lines(results.about)), behind(results, systems)]
    parts += [f"![{title}](plots/{name})" for title, name in plots]
    for group, title in GROUPS.items():
        chosen = [figure for figure in figures if group_of(figure) == group and figure.metric in MAIN_METRICS]
        if chosen:
            parts += [f"### {title}", figures_table(chosen, systems), not_there(systems, measured(chosen, systems))]
    latencies = [figure for figure in figures if shown_latency(figure)]
    if latencies:
        parts += ["### Latencies", "Of single operations, each with a clock around it.",
                  latency_table(latencies, systems)]
    space = [figure for figure in figures if figure.metric in SPACE_METRICS]
    if space:
        parts += ["### Space", figures_table(space, systems)]
    parts += ["### Settings, and who does less", notes(results.about, systems)]
    if results.failures:
        parts += ["Failed: " + "; ".join(results.failures) + "."]
    parts += ["<details><summary>Every figure with its least and its most</summary>", spread_table(figures, systems),
              "</details>"]
    return "\n\n".join(part for part in parts if part)


def not_there(systems, there):
    missing = [TITLES.get(system, system) for system in systems if system not in there and system not in OWN]
    return f"Not to be had in: {', '.join(missing)}." if missing else ""


SHORT_ROWS = (
    ("Random single reads", "R1", "time"),
    ("Random reads, batches of 1024", "R2", "time"),
    ("A key that is missing", "R1-miss", "time"),
    ("Iteration, per entry", "R3", "time"),
    ("Eight readers beside a writer", "R5", "reads"),
    ("Writes of 8 bytes, batches of 1024", "W1", "rate"),
    ("Single writes of 128 bytes", "W2", "rate"),
    ("The same, 8 threads", "W3", "rate"),
    ("Durable writes, 8 threads", "W2d-8", "rate"),
    ("95 % reads, 5 % updates, 4 KiB", "YCSB-B-4K", "rate"),
)


def short_report(results):
    """The README's: few rows, no spreads, and what is not ahead."""
    systems, rows = results.systems(), []
    for title, workload, metric in SHORT_ROWS:
        figure = results.figure(workload, metric)
        if figure is None:
            continue
        unit = unit_of(figure.unit).title
        rows.append([title] + value_cells(figure, systems, lambda value, one=figure, to=unit:
                                          f"{write_in(one.unit)(value)} {to}")
                    + [short_ratio(figure, peers_of(systems)), short_ratio(figure, [RUST])])
    parts = [short_introduction(results.about, systems),
             table([""] + [TITLES.get(system, system) for system in systems]
                   + ["to best peer", "to Rust original"], rows),
             behind(results, systems)]
    return "\n\n".join(parts)


def short_introduction(about, systems):
    machine = about.get("machine", {})
    entries = f"{about.get('scale', 1) * 1e6:,.0f}".replace(",", " ")
    mapped = ' "map" writes through a memory map (`SIMDRIVE_APPEND_MAP`).' if OWN[1] in systems else ""
    return (f"{entries} entries where nothing else is said. Medians of {about.get('rounds', '?')} rounds, all systems "
            f"in turns on one machine: {machine.get('processor', '?')}, {machine.get('processors', '?')} processors, "
            f"{machine.get('memory_mib', 0) / 1024:.0f} GiB, {machine.get('file_system', '?')}. The last two columns: "
            f"how many times better, computed within each round.{mapped} To repeat it: `./dev bench`.")


def short_ratio(figure, others):
    best = figure.best(others)
    values = [(median(figure.ratios(own, best)), own) for own in OWN if best and figure.ratios(own, best)]
    if not values:
        return NOTHING
    default = number(values[0][0])
    return default + (f" (map {number(values[1][0])})" if len(values) > 1 else "")


def growth_report(results, plots=()):
    """One row a size, one column a figure; every system that was measured."""
    figures = [figure for figure in ordered(results.figures()) if figure.entries is not None
               and (figure.metric in PLAIN_METRICS + ("saving",) or figure.workload == "W2-growth")]
    sizes = sorted({figure.entries for figure in figures})
    parts = ["\n".join(machine_lines(results.about)), results.about.get("left_out", "")]
    parts += [f"![{title}](plots/{name})" for title, name in plots]
    head, rows, seen = ["", "", "unit"] + [f"{size:,}".replace(",", " ") for size in sizes], [], []
    for figure in figures:
        if (figure.workload, figure.metric) in seen:
            continue
        seen.append((figure.workload, figure.metric))
        unit = unit_of(figure.unit)
        for system in figure_systems(results, figure, sizes):
            cells = [results.figure(figure.workload, figure.metric, size) for size in sizes]
            middles = [cell.median(system) if cell is not None else None for cell in cells]
            title = metric_title(figure.metric) if figure.metric not in PLAIN_METRICS else ""
            rows.append([f"{figure.workload} {title}".strip(), TITLES.get(system, system), unit.title]
                        + [NOTHING if middle is None else number(middle / unit.divisor) for middle in middles])
    return "\n\n".join(part for part in parts + [table(head, rows, left=3)] if part)


def larger_than_memory_report(results):
    """Every figure: how fast, and what it took."""
    figures = results.figures()
    main = [figure for figure in figures if figure.metric in PLAIN_METRICS]
    rest = [figure for figure in figures if figure.metric not in PLAIN_METRICS and not figure.is_latency()]
    latencies = [figure for figure in figures if shown_latency(figure)]
    systems = results.systems()
    parts = ["\n".join([method_line(results.about)] + machine_lines(results.about)), results.about.get("memory", ""),
             figures_table(main, systems), "### What it took", figures_table(rest, systems)]
    if latencies:
        parts += ["### Latencies of cold reads", latency_table(latencies, systems)]
    parts += ["Failed: " + "; ".join(results.failures) + "." if results.failures else "",
              "<details><summary>Every figure with its least and its most</summary>", spread_table(figures, systems),
              "</details>"]
    return "\n\n".join(part for part in parts if part)


def figure_systems(results, figure, sizes):
    return [system for system in results.systems()
            if any((one := results.figure(figure.workload, figure.metric, size)) is not None
                   and one.median(system) is not None for size in sizes)]


def comparison_report(before, after):
    """Each figure that both runs have: before, after, and whether the difference is beyond the spread."""
    rows = [change_row(change) for change in changes(before, after)]
    return table(["", "", "system", "unit", "before", "after", "times better", ""], rows, left=4)


def change_row(change):
    figure, unit = change.figure, unit_of(change.figure.unit)
    size = f" at {figure.entries}" if figure.entries is not None else ""
    return [figure.workload + size, metric_title(figure.metric), TITLES.get(change.system, change.system), unit.title,
            number(change.before / unit.divisor), number(change.after / unit.divisor),
            number(change.ratio) if change.ratio is not None else NOTHING, change.mark]


# --- pages -----------------------------------------------------------------------------------------------------------

def replace_block(page, name, content):
    """The page with what stands between `<!-- name: begin -->` and `<!-- name: end -->` replaced."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(f"the page needs one pair of marks {begin} {end}")
    before, rest = page.split(begin)
    return f"{before}{begin}\n{content.strip()}\n{end}{rest.split(end)[1]}"


def plain_text(markdown):
    """For terminals: tables with their columns aligned, without the marks of pages."""
    lines, block = [], []
    for line in markdown.splitlines() + [""]:
        if line.startswith("|"):
            block.append([re.sub(r"<sup>.*?</sup>", "", cell).strip() for cell in line.strip("|").split("|")])
            continue
        lines += aligned(block)
        block = []
        if not re.match(r"^(<details>|</details>|!\[)", line):
            lines.append(line.lstrip("#").strip() if line.startswith("#") else line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines).rstrip())


def aligned(block):
    """Rows of a Markdown table with blanks between the columns; the second row says how they are aligned."""
    if not block:
        return []
    to_right = [cell.endswith(":") for cell in block[1]]
    rows = [[cell.replace("**", "") for cell in cells] for i, cells in enumerate(block) if i != 1]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(to_right))]
    return ["  ".join(cell.rjust(width) if right else cell.ljust(width)
                      for cell, width, right in zip(cells, widths, to_right)).rstrip() for cells in rows]
