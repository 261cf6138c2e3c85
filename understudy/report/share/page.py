"""The page of a finished run of agents that share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.report.parts.layout import for_both
from understudy.report.parts.numbers import count, lead_words, number, size, span
from understudy.report.parts.page import Tile, render
from understudy.report.parts.tables import Table
from understudy.report.share import plots, tables
from understudy.report.share.graph import graphs, legend
from understudy.report.share.records import (
    SharedRun,
    base_of,
    curves_of,
    error_of,
    events_of,
    fates_of,
    marks_of,
    mean_of,
    read_run,
)
from understudy.run import RunDirectory
from understudy.share.records import AgentResult, VariantResult, best_of
from understudy.share.tick import INITIAL_TASKS

Variants = Mapping[str, VariantResult]

FATES = {
    "arrives": "it was received whole, or what was left of it after trimming",
    "trimmed": "only its most important part fitted the bandwidth of the edge",
    "waits": "not all of it was sent in its round; counted once for each round",
    "superseded": "a newer message replaced it before any of it was sent",
    "lost": "it was sent and never arrived; the sender does not know",
    "under way": "it had not arrived when the run ended",
}


def page(directory: RunDirectory) -> str:
    run = read_run(directory)
    variants, fits = run.summary.variants, run.summary.fits
    best, marks = best_of(variants), marks_of(variants)
    sent = any(each.floats or each.bytes for each in variants.values())
    return render(
        directory,
        Path(__file__).with_name("page.html"),
        title=_title(variants),
        words=_words(run.settings, variants),
        facts=_facts(run.settings),
        tiles=_tiles(variants, best),
        best=best,
        first_seed=variants[best].seeds[0].seed,
        variant_table=tables.variant_table(variants),
        agents_plot=for_both(plots.agents_plot, variants, marks),
        curves=_curves(run, best),
        waiting=_waiting(run),
        graphs=graphs(variants),
        graph_legend=legend(variants),
        kind_table=tables.kind_table(variants),
        cost_plot=for_both(plots.cost_plot, variants, marks) if sent else None,
        has_gains=any(each.gain is not None for each in variants.values()),
        fit_plot=for_both(plots.fit_plot, variants, fits, marks) if fits else None,
        fit_table=tables.fit_table(fits),
        user_table=tables.user_table(variants),
        agent_table=tables.agent_table(variants[best]),
        reveals=_reveals(variants),
        fate_table=_fate_table(variants),
        fates=FATES,
        event_table=_event_table(variants),
    )


def _title(variants: Variants) -> str:
    agents = span([len(seed.agents) for each in variants.values() for seed in each.seeds], "{:.0f}")
    tasks = span([len(agent.tasks) for agent in _agents(variants)], "{:.0f}")
    return f"{_counted(agents, 'agent')}, {_counted(tasks, 'task')} each"


def _words(settings: Mapping[str, Any], variants: Variants) -> str:
    seeds = settings.get("seeds", [])
    words = f"{_counted(len(variants), 'variant')}, {_counted(len(seeds), 'seed')}"
    alone = all(len(seed.agents) == 1 for each in variants.values() for seed in each.seeds)
    return words if alone else f"{words}, graph: {_topologies(settings)}"


def _topologies(settings: Mapping[str, Any]) -> str:
    """Of all variants, which may each have their own."""
    each = [settings, *(own or {} for own in (settings.get("variants") or {}).values())]
    found = [(own.get("graph") or {}).get("topology") for own in each]
    return " or ".join(dict.fromkeys(str(topology) for topology in found if topology))


def _facts(settings: Mapping[str, Any]) -> list[tuple[str, object]]:
    names = {"data": "data", "net": "net", "epochs": "epochs per task"}
    names |= {"classes_per_task": "classes per task", "train_per_class": "instances per class"}
    known = [(name, settings[key]) for key, name in names.items() if key in settings]
    return [*known, ("seeds", ", ".join(map(str, settings.get("seeds", []))))]


def _tiles(variants: Variants, best: str) -> list[Tile]:
    """What to know first, of the most accurate variant."""
    variant, base = variants[best], base_of(variants, best)
    accuracy = worst = best
    figures = {n: (mean_of(each.accuracy), error_of(each.accuracy)) for n, each in variants.items()}
    gain = "no variant of its learner shares nothing" if variant.shares else "shares nothing"
    least = variant.users.unweighted["worst"]
    if base is not None:
        alone, error = variants[base], error_of(variant.gain)
        accuracy += f" ({base}: {number(alone.accuracy.mean, 3)})"
        worst += f" ({base}: {number(alone.users.unweighted['worst'], 3)})"
        gain = (f"± {number(error)}, " if math.isfinite(error) else "") + f"over {base}"
    agents = _counted(len(variant.seeds[0].agents), "agent")
    accuracy = "; ".join(filter(None, (accuracy, lead_words(figures, best))))
    return [
        Tile("most accurate", number(variant.accuracy.mean, 3), accuracy),
        Tile("gain by sharing", _percent(mean_of(variant.gain)), gain),
        Tile("sent for it", size(variant.bytes), f"{count(variant.floats)} floats, by {agents}"),
        Tile("worst agent", number(least, 3), worst),
    ]


def _curves(run: SharedRun, best: str) -> list[str]:
    """Plots of learning curves; none where no variant was examined."""
    variants, found = run.summary.variants, curves_of(run.examinations)
    curves = {name: found[name] for name in variants if name in found}
    if not curves:
        return []
    figures = [
        for_both(plots.task_plot, curves, marks_of(variants)),
        for_both(plots.variant_panels, variants, curves),
    ]
    if best in curves:
        figures.append(for_both(plots.agent_panels, variants, curves, best))
    return figures


def _waiting(run: SharedRun) -> str:
    """A sentence where curves lie flat until the tasks that are learnt jointly have all come."""
    tasks = max((len(agent.tasks) for agent in _agents(run.summary.variants)), default=0)
    jointly = min(INITIAL_TASKS, tasks) if run.settings.get("jointly", True) else 1
    begin = min((line.task for line in run.examinations), default=0)
    if begin >= jointly - 1:
        return ""
    return (
        f"The first {jointly} tasks are learnt jointly, as soon as all of them are there: before, "
        "nothing is learnt, and a curve lies flat."
    )


def _reveals(variants: Variants) -> list[tuple[str, tuple[str, ...]]]:
    """(names, sentences): variants that reveal the same stand together."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, each in variants.items():
        alike.setdefault(tuple(each.reveals), []).append(name)
    groups = sorted(alike.items(), key=lambda group: len(group[0]))
    return [("; ".join(names), sentences) for sentences, names in groups]


def _fate_table(variants: Variants) -> Table | None:
    """Of the variants of which not every message simply arrived; none if there are none."""
    fates = {name: fates_of(each) for name, each in variants.items()}
    wrong = {
        name: each
        for name, each in fates.items()
        if any(number for fate, number in each.items() if fate != "arrives")
    }
    return _counts_or_none(wrong, by=list(FATES))


def _event_table(variants: Variants) -> Table | None:
    events = {name: events_of(each) for name, each in variants.items()}
    return _counts_or_none({name: each for name, each in events.items() if each})


def _counts_or_none(counts: tables.Counts, by: list[str] | None = None) -> Table | None:
    order = by or []
    columns = sorted(
        {column for each in counts.values() for column in each},
        key=lambda column: (order.index(column) if column in order else len(order), column),
    )
    return tables.count_table(counts, columns) if counts else None


def _agents(variants: Variants) -> list[AgentResult]:
    return [agent for each in variants.values() for seed in each.seeds for agent in seed.agents]


def _percent(value: float) -> str:
    return f"{number(value, sign='+')}\N{NO-BREAK SPACE}%" if math.isfinite(value) else "–"


def _counted(many: int | str, noun: str) -> str:
    return f"{many} {noun}" + ("" if str(many) == "1" else "s")
