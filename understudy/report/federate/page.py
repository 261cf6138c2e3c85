"""The page of a finished federation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.report.federate import plots, tables
from understudy.report.federate.records import (
    FederatedRun,
    Variants,
    curve_of,
    error_of,
    events_of,
    mean_of,
    read_run,
    refused_of,
)
from understudy.report.parts.layout import for_both
from understudy.report.parts.numbers import lead_words, number, size
from understudy.report.parts.page import Tile, render
from understudy.run import RunDirectory


def page(directory: RunDirectory) -> str:
    run = read_run(directory)
    variants, best = run.summary.variants, run.summary.best
    return render(
        directory,
        Path(__file__).with_name("page.html"),
        title=_title(run.settings),
        words=_words(run.settings, variants),
        facts=_facts(run.settings),
        tiles=_tiles(variants, best),
        best=best,
        first_seed=variants[best].seeds[0].seed,
        variant_table=tables.variant_table(variants),
        clients_plot=for_both(plots.clients_plot, variants),
        curve_plot=for_both(plots.curve_plot, _curves(run), variants),
        pooled=for_both(plots.pooled_panels, variants),
        each=for_both(plots.client_panels, variants[best], best),
        client_table=tables.client_table(variants[best]),
        user_table=tables.user_table(variants),
        overlap=for_both(plots.overlap_plot, variants[best]),
        spread=for_both(plots.spread_plot, variants[best], best),
        kind_table=tables.kind_table(variants),
        leaves=_leaves(variants),
        refused_table=tables.count_table({n: refused_of(v) for n, v in variants.items()}),
        event_table=tables.count_table({n: events_of(v) for n, v in variants.items()}),
    )


def _title(settings: Mapping[str, Any]) -> str:
    clients, tasks = settings.get("clients"), settings.get("tasks")
    return f"{_counted(clients, 'client')}, {_counted(tasks, 'task')} each"


def _words(settings: Mapping[str, Any], variants: Variants) -> str:
    seeds = len(settings.get("seeds", []))
    frozen = (settings.get("foundation") or {}).get("name")
    words = f"{_counted(len(variants), 'variant')}, {_counted(seeds, 'seed')}"
    return f"{words}, frozen: {frozen}"


def _facts(settings: Mapping[str, Any]) -> list[tuple[str, object]]:
    names = {"data": "data", "rounds": "rounds per task", "classes_per_task": "classes per task"}
    known = [(name, settings[key]) for key, name in names.items() if key in settings]
    small = settings.get("small")
    known.append(("small network", ", ".join(small) if isinstance(small, list) else small))
    return [*known, ("seeds", ", ".join(map(str, settings.get("seeds", []))))]


def _tiles(variants: Variants, best: str) -> list[Tile]:
    """What to know first, of the most accurate variant."""
    one = variants[best]
    error = error_of(one.accuracy)
    spread = f"± {number(error, 3)}, " if error == error else ""
    figures = {n: (mean_of(each.accuracy), error_of(each.accuracy)) for n, each in variants.items()}
    note = "; ".join(filter(None, (f"{spread}{best}", lead_words(figures, best))))
    users = one.users.unweighted
    return [
        Tile("most accurate", number(one.accuracy.mean, 3), note),
        Tile(
            "forgetting",
            number(one.forgetting.mean, 3),
            f"BWT {number(one.backward_transfer.mean, 3, '+')}",
        ),
        Tile("sent", size(one.bytes), f"{size(one.bytes_up)} up, {size(one.bytes_down)} down"),
        Tile("worst client", number(users["worst"], 3), f"std. dev. {number(users['std'], 3)}"),
    ]


def _curves(run: FederatedRun) -> dict[str, Any]:
    return {name: curve_of(run.lines, name) for name in run.summary.variants}


def _leaves(variants: Variants) -> list[tuple[str, tuple[str, ...]]]:
    """(names, sentences): variants of which the same leaves stand together."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, each in variants.items():
        alike.setdefault(tuple(each.leaves), []).append(name)
    return [("; ".join(names), sentences) for sentences, names in alike.items()]


def _counted(many: object, noun: str) -> str:
    return f"{many} {noun}" + ("" if str(many) == "1" else "s")
