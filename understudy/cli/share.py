"""`understudy share`: agents on a graph learn together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.cli import options
from understudy.cli.command import Command
from understudy.cli.printing import print_report
from understudy.cli.work import display_of, long_work


class ShareCommand(Command):
    """Its help ends with every setting, read from the code when asked for."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from understudy.report.settings import settings_text
        from understudy.share.variants import ShareRun

        formatter.write("\n" + settings_text(ShareRun))


def share(
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
    """Let agents on a graph learn together: they share data, parameters or modules."""
    from understudy import api
    from understudy.settings import gathered_settings
    from understudy.share.variants import asked_settings

    given = gathered_settings({}, config, set_ or [])
    asked = asked_settings(out, given, resume)  # refused before torch is imported
    if dry_run:
        from understudy.share.plan import plan_text

        print(plan_text(asked))
        return
    with long_work(out):
        run = api.share(given, out=out, resume=resume, display=display_of(as_json, quiet))
    print_report(run, as_json)
