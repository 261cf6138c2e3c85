"""The page of a shadow report: one file that loads nothing."""

from __future__ import annotations

from pathlib import Path

import yaml

from understudy.gateway.shadow.findings import Findings
from understudy.gateway.shadow.money import dollars
from understudy.gateway.shadow.plot import NARROW, WIDE, quality_over_cost
from understudy.gateway.shadow.words import (
    Source,
    assumptions,
    goal,
    interval,
    kind_table,
    next_commands,
    percent,
    repeated,
    rule,
)
from understudy.report.parts.numbers import count
from understudy.report.parts.page import Tile, environment


def page(found: Findings, source: Source) -> str:
    template = environment(Path(__file__).parent).get_template("page.html")
    settings = source.settings.model_dump(mode="json")
    return template.render(
        title=f"{dollars(found.would_pay)} instead of {dollars(found.paid)}",
        words=f"{', '.join(source.logs)}, answered by {source.version}",
        facts=_facts(found, source),
        tiles=_tiles(found, source),
        cautions=source.cautions,
        rule=rule(found),
        goal=goal(found, source.settings),
        plots={"wide": quality_over_cost(found, WIDE), "narrow": quality_over_cost(found, NARROW)},
        kinds=source.kinds,
        kind_table=kind_table(found),
        examples=found.examples,
        commands=list(next_commands(found, source)),
        command=repeated(source),
        assumptions=assumptions(found, source),
        left_out=source.left_out,
        rows=count(source.rows),
        settings=yaml.safe_dump(settings, sort_keys=False, allow_unicode=True),
    )


def _facts(found: Findings, source: Source) -> list[tuple[str, str]]:
    return [
        ("rows", count(source.rows)),
        ("usable calls", count(found.calls)),
        ("compared", count(found.answered)),
        ("different questions", count(found.different)),
    ]


def _tiles(found: Findings, source: Source) -> list[Tile]:
    cloud = "the cloud is taken for right"
    if found.cloud_wrong is not None:
        cloud = f"the cloud alone: {percent(found.cloud_wrong.share)}"
    return [
        Tile(
            "you would have paid",
            dollars(found.would_pay),
            f"± {dollars(found.would_pay_reach)}, instead of {dollars(found.paid)}",
        ),
        Tile("saved", percent(found.saved, 0), "of what the cloud was paid"),
        Tile("wrong", percent(found.wrong.share), f"{interval(found.wrong)}; {cloud}"),
        Tile("asked", percent(found.asked, 0), f"dial {found.dial:.2f}, by {found.signal}"),
    ]
