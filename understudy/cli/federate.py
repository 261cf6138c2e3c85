"""`understudy federate`: clients with small models and a server steer a frozen large one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.cli import options
from understudy.cli.command import Command
from understudy.cli.printing import print_report
from understudy.cli.work import long_work


class FederateCommand(Command):
    """Its help ends with every setting, read from the code when asked for."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from understudy.federate.variants import FederateRun
        from understudy.report.settings import settings_text

        formatter.write("\n" + settings_text(FederateRun))


def federate(
    out: options.Out,
    config: Annotated[
        Path | None, typer.Argument(help="settings in a YAML file", metavar="CONFIG.yaml")
    ] = None,
    set_: options.Set = None,
    resume: options.Resume = False,
    dry_run: options.DryRun = False,
) -> None:
    """Let clients learn around a server: each steers a frozen model with a small one of its own."""
    from understudy import api
    from understudy.federate.variants import asked_settings
    from understudy.settings import gathered_settings

    given = gathered_settings({}, config, set_ or [])
    asked = asked_settings(out, given, resume)  # refused before torch is imported
    if dry_run:
        from understudy.federate.plan import plan_text

        print(plan_text(asked))
        return
    with long_work(out):
        run = api.federate(given, out=out, resume=resume, display=True)
    print_report(run)
