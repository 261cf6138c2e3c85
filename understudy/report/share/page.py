"""A finished run of agents that share as one HTML page that needs nothing but itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from html import escape

from understudy.report.parts.html import facts, section, table, tiles, write_page
from understudy.report.parts.numbers import count, mean_along, number, size, small, span
from understudy.report.share import plots
from understudy.report.share.graph import graph_pictures
from understudy.report.share.records import (
    Record,
    agents_of,
    base_of,
    best_of,
    by_kind,
    curves_of,
    events_of,
    fates_of,
    figure_of,
    fit_name,
    marks_of,
    user_figure,
    words_of,
)
from understudy.run import RunDirectory

Variants = Mapping[str, Record]

_FATES = {
    "arrives": "whole, or what was left of it",
    "trimmed": "only its most wanted part fitted the edge",
    "waits": "not all of it crossed in its round; counted once for each round",
    "superseded": "gave way to a newer one before any of it had crossed",
    "lost": "crossed and never arrived; its sender was not told",
    "under way": "had not arrived when the run ended",
}


def write_share_report(run: RunDirectory) -> None:
    """Write report.html; the same run directory gives the same bytes."""
    settings, summary = run.settings(), run.read(run.summary)
    variants: Variants = summary["variants"]
    best = best_of(variants)
    parts = _header(settings, variants, best)
    parts |= {
        "variant_table": _variant_table(variants),
        "agents_plot": plots.agents_plot(variants, marks_of(variants)),
        "curves": _curves(run.metric_lines(), variants, best),
        "graphs": _graphs(variants),
        "cost": _cost(variants),
        "fits": _fits(variants, summary["fits"]),
        "user_table": _user_table(variants),
        "agent_table": _agent_table(variants, best),
        "reveals": _reveals(variants),
        "links": _links(variants),
    }
    write_page(run, "share/page.html", parts)


def _header(settings: Record, variants: Variants, best: str) -> dict[str, str]:
    agents, tasks = (_sizes(variants, key) for key in ("agents", "tasks"))
    one = agents == "1"
    title = f"{agents} agent{'' if one else 's'}, {tasks} task{'' if tasks == '1' else 's'} each"
    seeds = settings.get("seeds", [])
    said = f"{_counted(len(variants), 'variant')}, {_counted(len(seeds), 'seed')}"
    said += "" if one else f", graph: {_topologies(settings)}"
    names = {"data": "data", "net": "net", "epochs": "epochs per task"}
    names |= {"classes_per_task": "classes per task", "train_per_class": "instances per class"}
    known = [(name, settings[key]) for key, name in names.items() if key in settings]
    known.append(("seeds", ", ".join(map(str, seeds))))
    return {
        "title": escape(title),
        "summary": escape(said),
        "facts": facts(known),
        "tiles": _tiles(variants, best),
    }


def _topologies(settings: Record) -> str:
    """Of all variants, which may each have their own."""
    each = [settings, *(own or {} for own in (settings.get("variants") or {}).values())]
    found = [(own.get("graph") or {}).get("topology") for own in each]
    return " or ".join(dict.fromkeys(str(topology) for topology in found if topology))


def _sizes(variants: Variants, key: str) -> str:
    """How many agents, or tasks of each: one number, or the least and the greatest."""
    populations = [seed["agents"] for each in variants.values() for seed in each["seeds"]]
    if key == "tasks":
        return span([len(agent["tasks"]) for each in populations for agent in each], "{:.0f}")
    return span([len(each) for each in populations], "{:.0f}")


def _tiles(variants: Variants, best: str) -> str:
    """What to know first, of the most accurate variant."""
    variant, base = variants[best], base_of(variants, best)
    agents = len(variant["seeds"][0]["agents"])
    accuracy = worst = best
    if base is not None:
        accuracy += f" ({base}: {number(figure_of(variants[base], 'accuracy'), 3)})"
        worst += f" ({base}: {number(user_figure(variants[base], 'worst'), 3)})"
    error = figure_of(variant, "gain", "standard_error")
    gain = "no variant of its learner shares nothing" if variant["shares"] else "shares nothing"
    if base is not None:
        gain = (f"± {number(error)}, " if math.isfinite(error) else "") + f"over {base}"
    return tiles(
        (
            ("most accurate", number(figure_of(variant, "accuracy"), 3), accuracy),
            ("gain by sharing", _percent(figure_of(variant, "gain")), gain),
            (
                "sent for it",
                size(variant["bytes"]),
                f"{count(variant['floats'])} floats, by {_counted(agents, 'agent')}",
            ),
            ("worst agent", number(user_figure(variant, "worst"), 3), worst),
        )
    )


def _variant_table(variants: Variants) -> str:
    heads = ["variant", "accuracy", "learning speed", "gain, %", "floats", "bytes"]
    heads += ["worst agent", "std. dev."]
    every = variants.values()
    top = {
        key: _most(figure_of(each, key) for each in every)
        for key in ("accuracy", "learning_speed", "gain")
    }
    worst = _most(user_figure(each, "worst") for each in every)
    rows = []
    for name, each in variants.items():
        cells = [_with_error(each, key, top[key]) for key in ("accuracy", "learning_speed")]
        cells.append(_with_error(each, "gain", top["gain"], digits=2, sign="+"))
        cells += [count(each["floats"]), size(each["bytes"])]
        least = user_figure(each, "worst")
        cells.append(_bold(number(least, 3), least is not None and least == worst))
        cells.append(number(user_figure(each, "std"), 3))
        rows.append([_named(name, words_of(each)), *cells])
    return table(heads, rows)


def _curves(lines: list[Record], variants: Variants, best: str) -> str:
    found = curves_of(lines)
    curves = {name: found[name] for name in variants if name in found}
    if not curves:
        return ""
    figures = [plots.task_plot(curves, marks_of(variants)), plots.variant_panels(variants, curves)]
    if best in curves:
        figures.append(plots.agent_panels(variants, curves, best))
    words = "<p>Where a new task begins, the mean over all tasks seen drops.</p>"
    return section("How they learnt", words, *map(_figure, figures))


def _graphs(variants: Variants) -> str:
    pictures = graph_pictures(variants)
    return section("Who sent how much to whom", pictures, _kinds(variants)) if pictures else ""


def _kinds(variants: Variants) -> str:
    """Bytes by kind of message; nothing where nothing crossed."""
    sent = {name: by_kind(each, "bytes") for name, each in variants.items()}
    kinds = sorted({kind for each in sent.values() for kind, size_ in each.items() if size_})
    if not kinds:
        return ""
    rows = [
        [escape(name), *(size(each[kind]) if each[kind] else "–" for kind in kinds)]
        for name, each in sent.items()
        if each.total()
    ]
    words = '<p class="note">Bytes by kind of message, a population, mean over seeds.</p>'
    return table(("variant", *map(escape, kinds)), rows) + words


def _cost(variants: Variants) -> str:
    if not any(each["floats"] or each["bytes"] for each in variants.values()):
        return ""
    words = (
        "<p>Floats count what a message is about; bytes count all that crossed, labels and "
        "descriptions included.</p>"
    )
    picture = plots.cost_plot(variants, marks_of(variants))
    return section("Accuracy over cost", words, _figure(picture))


def _fits(variants: Variants, fits: list[Record]) -> str:
    if not fits:
        return ""
    heads = ("shared", "variants", "slope", "intercept", "value of information")
    rows = [
        [
            escape(fit_name(fit)),
            str(len(fit["variants"])),
            number(fit["slope"]),
            number(fit["intercept"]),
            small(fit["value_of_information"]),
        ]
        for fit in fits
    ]
    note = (
        '<p class="note">Slope: percent gained when the cost is multiplied by e. Value of '
        "information: percent gained per float, mean over the variants. Cost: floats over one edge "
        "per task in which agents may share.</p>"
    )
    picture = _figure(plots.fit_plot(variants, fits, marks_of(variants)))
    return section("What more sharing is worth", picture, table(heads, rows), note)


def _user_table(variants: Variants) -> str:
    deciles = [f"decile_{i}" for i in range(1, 10)]
    heads = ["variant", "weighted mean", "mean", "std. dev.", "worst"]
    heads += [*(f"{10 * i} %" for i in range(1, 10)), "best"]
    rows = []
    for name, each in variants.items():
        keys = ("mean", "std", "worst", *deciles, "best")
        figures = [user_figure(each, "mean", "weighted"), *(user_figure(each, k) for k in keys)]
        rows.append([escape(name), *(number(figure, 3) for figure in figures)])
    return table(heads, rows)


def _agent_table(variants: Variants, best: str) -> str:
    """Each agent of the most accurate variant, its tasks among them; folded away."""
    variant = variants[best]
    accuracy = mean_along(agents_of(variant), axis=0)
    first = variant["seeds"][0]["agents"]
    tasks = max(len(agent["tasks"]) for agent in first)
    heads = ["agent", "accuracy, all seeds", "learning speed", "modules"]
    heads += [f"task {task + 1}" for task in range(tasks)]
    rows = []
    for place, agent in enumerate(first):
        modules = agent.get("modules")
        cells = [number(float(accuracy[place]), 3), number(agent["learning_speed"], 3)]
        cells.append("–" if modules is None else str(modules))
        rows.append([str(place), *cells, *(number(found) for found in agent["tasks"])])
    title = f"Every agent of {escape(best)}, task by task (of seed "
    title += f"{escape(str(variant['seeds'][0]['seed']))})"
    return f"<details><summary>{title}</summary>{table(heads, rows)}</details>"


def _reveals(variants: Variants) -> str:
    """Variants that reveal the same are told of together."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, each in variants.items():
        alike.setdefault(tuple(each["reveals"]), []).append(name)
    blocks = []
    for sentences, names in sorted(alike.items(), key=lambda pair: len(pair[0])):
        items = "".join(f"<li>{escape(text)}</li>" for text in sentences) or "<li>Nothing.</li>"
        blocks.append(f"<dt>{escape('; '.join(names))}</dt><dd><ul>{items}</ul></dd>")
    return f'<dl class="said">{"".join(blocks)}</dl>'


def _links(variants: Variants) -> str:
    """What went wrong on the way, and what could not be used when it was there."""
    fates = _counts(variants, fates_of)
    events = _counts(variants, events_of)
    if not any(fates.values()) and not any(events.values()):
        return ""
    wrong = {n: each for n, each in fates.items() if any(each[f] for f in each if f != "arrives")}
    content = []
    if wrong:
        seen = sorted({fate for each in wrong.values() for fate in each}, key=_order)
        content.append(_count_table(wrong, seen))
        meanings = [f"{escape(f)}: {escape(_FATES[f])}" for f in seen if f in _FATES]
        content.append(f'<p class="note">Messages of all seeds. {"; ".join(meanings)}.</p>')
    else:
        content.append("<p>Every message arrived.</p>")
    broken = {name: each for name, each in events.items() if each}
    if broken:
        kinds = sorted({kind for each in broken.values() for kind in each})
        content += ["<p>Messages that arrived and could not be used:</p>"]
        content.append(_count_table(broken, kinds))
    return section("What went wrong on the links", *content)


def _counts(
    variants: Variants, of: Callable[[Record], Mapping[str, int]]
) -> dict[str, Mapping[str, int]]:
    return {name: of(each) for name, each in variants.items()}


def _count_table(counts: Mapping[str, Mapping[str, int]], columns: list[str]) -> str:
    rows = [
        [escape(name), *(f"{each.get(column, 0):,}" for column in columns)]
        for name, each in counts.items()
    ]
    return table(("variant", *map(escape, columns)), rows)


def _order(fate: str) -> tuple[int, str]:
    known = list(_FATES)
    return (known.index(fate) if fate in known else len(known)), fate


def _with_error(variant: Record, key: str, top: float, digits: int = 3, sign: str = "") -> str:
    found, error = figure_of(variant, key), figure_of(variant, key, "standard_error")
    text = _bold(number(found, digits, sign), found == top)
    return text + (f" <small>± {number(error, digits)}</small>" if math.isfinite(error) else "")


def _most(values: Iterable[float | None]) -> float:
    """NaN where no value stands above another."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return max(known) if len(set(known)) > 1 else math.nan


def _bold(text: str, is_best: bool) -> str:
    return f"<strong>{text}</strong>" if is_best else text


def _named(name: str, words: str) -> str:
    return f"{escape(name)}<small>{escape(words)}</small>"


def _percent(value: float) -> str:
    return f"{number(value, sign='+')}\N{NO-BREAK SPACE}%" if math.isfinite(value) else "–"


def _counted(many: int, noun: str) -> str:
    return f"{many} {noun}" + ("" if many == 1 else "s")


def _figure(picture: str) -> str:
    return f"<figure>{picture}</figure>"
