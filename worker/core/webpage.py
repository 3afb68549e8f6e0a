"""An estimate as one web page that stands alone: no script, no font and no picture from elsewhere.

Light or dark as the reader's system is. What the plots show stands in their names, too, or in tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from worker.core.chart import Column, Point, bars, curve, shares
from worker.core.estimate import Duration, Estimate, Pace
from worker.core.report import WHY, instance_hours, too_slow
from worker.core.tally import Fate
from worker.core.text import binary, counted, dollars, duration, printable, size_class

_STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b1f24;--soft:#5a6572;--line:#dfe3e8;
--main:#2563b0;--warn:#b3261e;--warn-page:#fdecea;
--share-0:#2563b0;--share-1:#0f8b8d;--share-2:#c98a00;--share-3:#7a5fb5;--share-4:#a9b4c0;--share-5:#d1495b;
--share-6:#8c2f39}
@media(prefers-color-scheme:dark){:root{--page:#14171b;--card:#1d2127;--ink:#e8ebef;--soft:#a3adb8;--line:#343b44;
--main:#6aa5f0;--warn:#ff8a80;--warn-page:#3a1d1c;
--share-0:#6aa5f0;--share-1:#3fbfc1;--share-2:#e5b04a;--share-3:#ab93e0;--share-4:#59646f;--share-5:#f07e8c;
--share-6:#c25b66}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,"Segoe UI",Roboto,"Noto Sans",
"DejaVu Sans",sans-serif}
main{max-width:976px;margin:0 auto;padding:32px 16px 48px}
h1{font-size:26px;line-height:1.2;margin:0 0 12px}
h2{font-size:18px;margin:0 0 4px}
p{margin:4px 0 12px}
.soft,figcaption,caption{color:var(--soft)}
.ends{display:grid;grid-template-columns:auto 1fr;gap:2px 12px;margin:0}
.ends dt{color:var(--soft)}
.ends dd{margin:0;overflow-wrap:anywhere}
code{font:13px/1.5 ui-monospace,"DejaVu Sans Mono",monospace}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:12px;margin:24px 0 12px}
.tile,section,.warning{background:var(--card);border:1px solid var(--line);border-radius:10px}
.tile{padding:14px 16px}
.tile b{display:block;font-size:28px;line-height:1.25;font-weight:650;font-variant-numeric:tabular-nums}
section{padding:20px 24px;margin:12px 0}
.warning{padding:12px 16px;border-color:var(--warn);background:var(--warn-page);margin:12px 0}
figure{margin:12px 0 0;overflow-x:auto}
svg{display:block;width:100%;min-width:600px;height:auto;font-size:13px;font-variant-numeric:tabular-nums}
svg text{fill:var(--ink);direction:ltr;paint-order:stroke;stroke:var(--card);stroke-width:4px}
svg .label{fill:var(--soft)}
svg .strong{font-weight:650}
.keys .label{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:12px;fill:var(--ink)}
.bar,.point,.mark{fill:var(--main)}
.curve{fill:none;stroke:var(--main);stroke-width:2}
.mark{stroke:var(--card);stroke-width:2}
.limit{stroke:var(--warn);stroke-dasharray:5 4}
svg .limit-text{fill:var(--warn)}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;margin-top:12px}
caption{text-align:left}
th,td{text-align:left;padding:5px 12px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--soft)}
.number{text-align:right;white-space:nowrap}
td:first-child{white-space:nowrap}
.number+td:not(.number){padding-left:12px}
tr.total td{font-weight:650;border-bottom:0}
.swatch{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:8px}
ul{margin:8px 0 0;padding-left:20px}
footer{color:var(--soft);margin-top:20px;font-size:13px}
"""
_STYLE += "".join(
    f".share-{place}{{fill:var(--share-{place});background:var(--share-{place})}}"
    for place in range(len(Fate))
)

_POINTS = 8
_SHORT_HOURS = 0.25
_NEAR = 1.4


def as_html(estimate: Estimate) -> str:
    """The page, in UTF-8's characters."""
    body = "\n".join(
        part
        for part in (
            _head(estimate),
            _tiles(estimate),
            _warning(estimate),
            _outcomes(estimate),
            _sizes(estimate),
            _prefixes(estimate),
            _cost(estimate),
            _time(estimate.pace, estimate),
            _notes(estimate),
        )
        if part
    )
    title = f"Transfer from {printable(estimate.source)} to {printable(estimate.destination)}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _head(estimate: Estimate) -> str:
    route = estimate.route
    way = "S3 copies the bytes itself" if route.server_side else "the bytes come through the workers"
    return f"""<header>
<h1>Transfer plan</h1>
<dl class="ends">
<dt>From</dt><dd><code>{escape(printable(estimate.source))}</code> in {escape(route.source_region)}</dd>
<dt>To</dt><dd><code>{escape(printable(estimate.destination))}</code> in
{escape(route.destination_region)}</dd>
<dt>Way</dt><dd>{escape(route.move)}; {way}</dd>
</dl>
</header>"""


def _tiles(estimate: Estimate) -> str:
    pace = estimate.pace
    tiles = [
        ("to move", binary(estimate.moved_bytes), f"of {binary(estimate.source_bytes)} listed"),
        ("objects to move", f"{estimate.moved_objects:,}", f"of {estimate.source_objects:,} listed"),
        ("it costs", dollars(estimate.dollars), f"at list prices of {estimate.prices_as_of}"),
        ("it takes", duration(pace.hours), f"with {pace.fleet.instances:,} \u00d7 {pace.instance_type}"),
    ]
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><span class="soft">{name}</span><b>{escape(number)}</b>'
            f'<span class="soft">{escape(beside)}</span></div>'
            for name, number, beside in tiles
        )
        + "</div>"
    )


def _warning(estimate: Estimate) -> str:
    if estimate.pace.fits_retention:
        return ""
    return f'<div class="warning" role="alert"><strong>Too slow.</strong> {escape(too_slow(estimate))}.</div>'


def _outcomes(estimate: Estimate) -> str:
    counts = [outcome.objects for outcome in estimate.outcomes]
    rows = []
    for place, outcome in enumerate(estimate.outcomes):
        if outcome.objects:
            swatch = f'<span class="swatch share-{place}"></span>{escape(outcome.fate)}'
            rows.append((swatch, f"{outcome.objects:,}", binary(outcome.bytes), escape(WHY[outcome.fate])))
    total = ("listed", f"{estimate.source_objects:,}", binary(estimate.source_bytes), "")
    told = ", ".join(f"{one.objects:,} {one.fate}" for one in estimate.outcomes if one.objects)
    return _section(
        "What would happen",
        f"Equal by {escape(estimate.compare)}, which can miss {escape(estimate.can_miss)}.",
        _figure(shares(f"Objects by what becomes of them: {told or 'none'}", counts)),
        _table(("Outcome", "Objects", "Bytes", ""), rows, total),
    )


def _sizes(estimate: Estimate) -> str:
    if not estimate.sizes:
        return ""
    plot = bars(
        "Objects and bytes to move, by size of object",
        [size_class(one.least, one.below) for one in estimate.sizes],
        [
            Column("Objects", *_column(estimate.sizes, "objects")),
            Column("Bytes", *_column(estimate.sizes, "bytes")),
        ],
    )
    return _section("Sizes", "What is to be moved, by the size of its objects.", _figure(plot))


def _column(rows: Sequence[object], what: str) -> tuple[list[float], list[str]]:
    numbers = [getattr(row, what) for row in rows]
    return numbers, [f"{number:,}" if what == "objects" else binary(number) for number in numbers]


def _prefixes(estimate: Estimate) -> str:
    largest = estimate.largest
    if largest.distinct <= 1:
        return ""
    plot = bars(
        "The prefixes of most bytes to move",
        [printable(one.prefix) for one in largest.prefixes],
        [
            Column("Bytes", *_column(largest.prefixes, "bytes")),
            Column("Objects", *_column(largest.prefixes, "objects")),
        ],
    )
    which = f"The {len(largest.prefixes):,} largest of {largest.distinct:,}"
    if largest.distinct == len(largest.prefixes):
        which = f"All {largest.distinct:,}"
    level = "level" if largest.depth == 1 else "levels"
    text = f"{which} prefixes {largest.depth} {level} below the source's, by the bytes to move."
    return _section("Prefixes", text, _figure(plot, "keys"))


def _cost(estimate: Estimate) -> str:
    charges = [charge for charge in estimate.charges if charge.dollars]
    plot = bars(
        "What the transfer costs, in US dollars",
        [charge.what for charge in charges],
        [Column("", [float(one.dollars) for one in charges], [dollars(one.dollars) for one in charges])],
    )
    rows = [
        (line.at, line.kind.partition(":")[2], f"{line.count:,}", dollars(line.dollars))
        for line in estimate.requests
    ]
    requests = sum(line.count for line in estimate.requests)
    cost = sum((line.dollars for line in estimate.requests), start=estimate.dollars * 0)
    total = ("together", "", f"{requests:,}", dollars(cost))
    return _section(
        f"Cost: {dollars(estimate.dollars)}",
        f"In US dollars, at list prices of {escape(estimate.prices_as_of)}; storage, logs, NAT gateways and "
        "addresses are not in it.",
        _figure(plot),
        _table(("Requests at the", "Operation", "Number", "Cost"), rows, total, numbers=(2, 3)),
    )


def _time(pace: Pace, estimate: Estimate) -> str:
    moved = (
        f"{binary(pace.bytes_per_second)} a second, that S3 copies when it is asked by so many streams"
        if estimate.route.server_side
        else f"{pace.fleet.network_gbps:g} Gbps of network"
    )
    work = estimate.work
    tasks = [f"{work.copy_tasks:,} tasks with packs of objects"]
    if work.large_tasks:
        tasks.append(
            f"{work.large_tasks:,} with one large object each and {work.hints:,} hints to their parts"
        )
    return _section(
        f"Time: {duration(pace.hours)} with {counted(pace.fleet.instances, 'instance')}",
        f"{instance_hours(pace)} of {escape(pace.instance_type)} in all, for "
        f"{escape(', '.join(tasks))}. An instance is taken to do {pace.objects_per_second:,.0f} small "
        f"objects a second ({pace.vcpus} processes of {pace.fleet.streams} streams, "
        f"{pace.seconds_per_object * 1000:.0f} ms an object) and {escape(moved)}, one after the other.",
        _by_fleet(pace),
    )


def _by_fleet(pace: Pace) -> str:
    """How long fleets of other sizes take, where the difference is worth a thought."""
    if pace.instance_hours < 1:
        return ""
    here = pace.fleet.instances
    worth = [one for one in pace.others if one.instances == here or _is_worth_showing(one, here)]
    before = sum(one.instances < here for one in worth)
    first = max(0, min(before - _POINTS // 2, len(worth) - _POINTS))
    shown = [
        Point(
            one.instances, one.hours, f"{one.instances:,}", duration(one.hours), marked=one.instances == here
        )
        for one in worth[first : first + _POINTS]
    ]
    told = ", ".join(f"{point.y_text} with {point.x_text}" for point in shown)
    days = pace.retention_hours // 24
    limit = (float(pace.retention_hours), f"the queue keeps messages for {days} days")
    return _figure(curve(f"How long it takes by number of instances: {told}", shown, limit, "instances"))


def _is_worth_showing(fleet: Duration, here: int) -> bool:
    """Whether a fleet beside the one that is meant is not too near to it, and not so large as to be idle."""
    near = here / _NEAR < fleet.instances < here * _NEAR
    return not near and (fleet.instances < here or fleet.hours >= _SHORT_HOURS)


def _notes(estimate: Estimate) -> str:
    if not estimate.notes:
        return ""
    return _section("Notes", "", f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in estimate.notes)}</ul>")


def _section(heading: str, text: str, *parts: str) -> str:
    """A section; `text` and `parts` are HTML."""
    paragraph = f'<p class="soft">{text}</p>' if text else ""
    return f"<section>\n<h2>{escape(heading)}</h2>\n{paragraph}\n{chr(10).join(parts)}\n</section>"


def _figure(plot: str, kind: str = "") -> str:
    return f'<figure class="{kind}">{plot}</figure>' if kind else f"<figure>{plot}</figure>"


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    total: Sequence[str],
    numbers: Sequence[int] = (1, 2),
) -> str:
    """A table; its cells are HTML."""

    def line(cells: Sequence[str], tag: str, kind: str = "") -> str:
        classes = (' class="number"' if place in numbers else "" for place in range(len(cells)))
        inner = "".join(f"<{tag}{of}>{cell}</{tag}>" for cell, of in zip(cells, classes, strict=True))
        return f"<tr{kind}>{inner}</tr>"

    inner = "".join(line(row, "td") for row in rows) + line(total, "td", ' class="total"')
    return f'<div class="wide"><table><thead>{line(head, "th")}</thead><tbody>{inner}</tbody></table></div>'
