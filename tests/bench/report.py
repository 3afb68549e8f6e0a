"""The figures of a benchmark: medians, ratios against rclone's best, as a table, as JSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tests.bench import workloads


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one tool: seconds, MiB, requests by operation, units of the workload that it copied."""

    workload: str
    tool: str
    streams: int
    cpu: float
    wall: float
    memory: float
    requests: dict[str, int]
    units: float


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of a tool's runs on one workload."""

    workload: str
    tool: str
    streams: int
    cpu_per_unit: float
    wall: float
    memory: float
    requests_per_object: float


_COLOURS = ("#1764ab", "#b8b8b8", "#959595", "#737373")

MOST_OF_RCLONE = {"large": 0.5, "medium": 1.0, "small": 0.33}
"""The budgets: client CPU against the best settings of rclone."""


def rows(runs: Sequence[Run], objects: dict[str, int]) -> list[Row]:
    """A row for each tool and workload, in the order of the runs."""
    groups: dict[tuple[str, str, int], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.workload, run.tool, run.streams), []).append(run)
    return [
        Row(
            *key,
            cpu_per_unit=median(run.cpu / run.units for run in group),
            wall=median(run.wall for run in group),
            memory=median(run.memory for run in group),
            requests_per_object=median(sum(run.requests.values()) / objects[key[0]] for run in group),
        )
        for key, group in groups.items()
    ]


def ratio(table: Sequence[Row], row: Row) -> float | None:
    """A row's CPU against the best of rclone's on the same workload; None where rclone did not run."""
    others = [
        other.cpu_per_unit
        for other in table
        if other.workload == row.workload and other.tool.startswith("rclone")
    ]
    return row.cpu_per_unit / min(others) if others else None


def text(table: Sequence[Row]) -> str:
    """The table as a person reads it."""
    head = f"{'workload':9} {'tool':26} {'streams':>7} {'CPU s per':>22} {'ratio':>6}"
    lines = [f"{head} {'wall s':>7} {'MiB':>6} {'requests/object':>15}"]
    for row in table:
        share = ratio(table, row)
        lines.append(
            f"{row.workload:9} {row.tool:26} {row.streams:7} {row.cpu_per_unit:8.3f} "
            f"{workloads.unit(row.workload)[0]:>13} {'-' if share is None else f'{share:.2f}':>6} "
            f"{row.wall:7.2f} {row.memory:6.0f} {row.requests_per_object:15.2f}"
        )
    return "\n".join(lines)


def write(folder: Path, runs: Sequence[Run], table: Sequence[Row], facts: dict[str, object]) -> None:
    """Keep every run as `bench.json`, and draw the ratios as `bench.png`, that of a tool's start left out."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"facts": facts, "runs": [asdict(run) for run in runs], "medians": [asdict(row) for row in table]}
    (folder / "bench.json").write_text(json.dumps(kept, indent=1) + "\n")
    if drawn := [row for row in table if row.workload != "one"]:
        _draw(folder / "bench.png", drawn)


def _draw(path: Path, table: Sequence[Row]) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - half a second, for the picture alone

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    names = list(dict.fromkeys(row.workload for row in table))
    tools = list(dict.fromkeys(row.tool for row in table))
    figure, axes = plt.subplots(figsize=(9, 1.4 + 1.1 * len(names)), layout="constrained")
    height = 0.8 / len(tools)
    for place, tool in enumerate(tools):
        found = [(names.index(row.workload), ratio(table, row)) for row in table if row.tool == tool]
        drawn = [(at, share) for at, share in found if share is not None]
        middles = [at + (place + 0.5) * height for at, _ in drawn]
        colour = _COLOURS[place % len(_COLOURS)]
        bars = axes.barh(
            middles, [share for _, share in drawn], height * 0.92, color=colour, label=tool, zorder=2
        )
        axes.bar_label(bars, fmt="%.2f", padding=4, fontsize=9, color="#444444")
    budgets = [(at, MOST_OF_RCLONE[name]) for at, name in enumerate(names) if name in MOST_OF_RCLONE]
    axes.vlines(
        [share for _, share in budgets],
        [at - 0.04 for at, _ in budgets],
        [at + 0.84 for at, _ in budgets],
        colors="#222222",
        linestyles="dashed",
        linewidth=1.2,
        label="budget of fleetcopy",
        zorder=3,
    )
    axes.set_yticks([at + 0.4 for at in range(len(names))], names, fontsize=11)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(x=0.08)
    axes.grid(axis="x", color="#e4e4e4", zorder=0)
    axes.set_title(
        "Client CPU for what is copied, rclone at its best = 1: shorter is better", fontsize=12, pad=12
    )
    figure.legend(loc="outside lower center", ncols=len(tools) + 1, fontsize=9, frameon=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(path, dpi=150)
