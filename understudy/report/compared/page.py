"""The page of several runs."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from understudy.report.compared import plots
from understudy.report.compared.records import ComparedRun, differing_settings, read_runs
from understudy.report.parts.axes import short
from understudy.report.parts.layout import for_both
from understudy.report.parts.numbers import dollars, number, size
from understudy.report.parts.page import Tile, environment
from understudy.report.parts.tables import Cell, Table, shown_figure
from understudy.run import RunDirectory

_LONGEST = 60  # letters of a setting's value


def page(
    directories: Sequence[RunDirectory], records: Sequence[Mapping[str, Any]], file: Path
) -> str:
    """records: of each run, as `report.comparison` has them; file: where it is going to be."""
    runs = read_runs(directories, records)
    template = environment(Path(__file__).parent).get_template("page.html")
    settings = {run.name: run.settings for run in runs}
    kinds = dict.fromkeys(str(run.record["recipe"]) for run in runs)
    return template.render(
        title=f"{len(runs)} run{'' if len(runs) == 1 else 's'}, side by side",
        words=", ".join(kinds),
        tiles=_tiles(runs),
        cost_plot=for_both(plots.cost_plot, runs) if plots.units_of(runs) else None,
        users_plot=for_both(plots.users_plot, runs),
        figure_table=_figure_table(runs),
        setting_table=_setting_table(runs),
        command=shlex.join(
            ["understudy", "compare", *(str(each.path) for each in directories), "--out", str(file)]
        ),
        settings=yaml.safe_dump(settings, sort_keys=False, allow_unicode=True),
    )


def _tiles(runs: Sequence[ComparedRun]) -> list[Tile]:
    """The best quality, the best off of all worst users, and the least that was spent."""
    known = [run for run in runs if math.isfinite(run.quality[0])]
    if not known:
        return []
    best = max(known, key=lambda run: run.quality[0])
    mean, low, high = best.quality
    between = f"{number(low, 3)} to {number(high, 3)}; " if math.isfinite(low) else ""
    note = f"{between}{best.name}{_rivals(best, known)}"
    found = [Tile("highest quality", number(mean, 3), note)]
    users = [run for run in runs if run.record["worst user"] is not None]
    if users:
        fair = max(users, key=lambda run: run.record["worst user"])
        found.append(Tile("best worst user", number(fair.record["worst user"], 3), fair.name))
    for unit, written in (("dollars", dollars), ("bytes", size)):
        spent = [run for run in runs if run.record.get(unit)]
        if len(spent) > 1:
            least = min(spent, key=lambda run: run.record[unit])
            found.append(Tile(f"fewest {unit}", written(least.record[unit]), least.name))
    return found


def _rivals(best: ComparedRun, runs: Sequence[ComparedRun]) -> str:
    """Others whose interval reaches the best's."""
    reach = [run.name for run in runs if run is not best and run.quality[2] >= best.quality[1]]
    return f"; its interval meets that of {', '.join(reach)}" if reach else ""


def _figure_table(runs: Sequence[ComparedRun]) -> Table:
    """A row per figure, a column per run."""
    names = [name for run in runs for name in run.record if name != "run"]
    rows: list[list[str | Cell]] = []
    for name in dict.fromkeys(names):
        values = [run.record.get(name) for run in runs]
        top = _top(values) if name in ("quality", "worst user") else None
        cells = [Cell(shown_figure(name, each), best=each == top is not None) for each in values]
        rows.append([name, *cells])
    return Table(("figure", *(run.name for run in runs)), rows)


def _top(values: Sequence[Any]) -> float | None:
    """None where no value stands above another."""
    known = {value for value in values if isinstance(value, float) and math.isfinite(value)}
    return max(known) if len(known) > 1 else None


def _setting_table(runs: Sequence[ComparedRun]) -> Table:
    rows = [
        [key, *(short(each, _LONGEST) for each in values)]
        for key, values in differing_settings(runs)
    ]
    return Table(("setting", *(run.name for run in runs)), rows)
