"""`understudy share` and `understudy federate`: several learners, variants of them side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli import options
from understudy.cli.command import with_settings
from understudy.cli.printing import print_json, print_report
from understudy.cli.work import display_of, long_work

if TYPE_CHECKING:
    from understudy.api import Run


@dataclass(frozen=True)
class Loop:
    """What a verb calls: it checks settings, says what they are going to do, and does it."""

    asked_settings: Callable[[Path, dict[str, Any], bool], Any]
    plan_text: Callable[[Any], str]
    run: Callable[..., Run]


def add_to(app: typer.Typer) -> None:
    _add(
        app,
        "share",
        "Let agents on a graph learn together: they share data, parameters or modules.",
        "understudy.share.variants:ShareRun",
        _sharing,
    )
    _add(
        app,
        "federate",
        "Let clients learn around a server: each steers a frozen model with a small one of its "
        "own.",
        "understudy.federate.variants:FederateRun",
        _federating,
    )


def _add(
    app: typer.Typer, name: str, summary: str, settings: str, loop_of: Callable[[], Loop]
) -> None:
    @app.command(name=name, help=summary, cls=with_settings(settings))
    def verb(
        out: options.Out,
        config: Annotated[
            Path | None, typer.Argument(help="settings in a YAML file", metavar="CONFIG.yaml")
        ] = None,
        set_: options.Set = None,
        resume: options.Resume = False,
        dry_run: options.DryRun = False,
        as_json: options.Json = False,
        quiet: options.Quiet = False,
    ) -> None:
        from understudy.settings import gathered_settings

        loop, given = loop_of(), gathered_settings({}, config, set_ or [])
        asked = loop.asked_settings(out, given, resume)  # refused before torch is imported
        if dry_run and as_json:
            print_json(asked.model_dump(mode="json"))
        elif dry_run:
            print(loop.plan_text(asked))
        else:
            with long_work(out):
                display = display_of(as_json, quiet)
                run = loop.run(given, out=out, resume=resume, display=display)
            print_report(run, as_json)


def _sharing() -> Loop:
    from understudy import api
    from understudy.share.plan import plan_text
    from understudy.share.variants import asked_settings

    return Loop(asked_settings, plan_text, api.share)


def _federating() -> Loop:
    from understudy import api
    from understudy.federate.plan import plan_text
    from understudy.federate.variants import asked_settings

    return Loop(asked_settings, plan_text, api.federate)
