"""`understudy share`: agents on a graph learn together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from understudy.cli import options
from understudy.cli.printing import print_table
from understudy.cli.work import long_work

if TYPE_CHECKING:
    from understudy.run import RunDirectory
    from understudy.share.variants import ShareRun


class ShareCommand(typer.core.TyperCommand):
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
) -> None:
    """Let agents on a graph learn together: they share data, parameters or modules."""
    from understudy.run import RunDirectory
    from understudy.settings import resolve_settings
    from understudy.share.variants import ShareRun

    run = RunDirectory.open(out) if resume else None
    asked = resolve_settings(ShareRun, {} if run is None else run.settings(), config, set_ or [])
    if dry_run:
        from understudy.share.plan import plan_text

        print(plan_text(asked))
        return
    _share(run, out, asked)


def _share(run: RunDirectory | None, out: Path, config: ShareRun) -> None:
    from rich.console import Console

    from understudy import report
    from understudy.report.screen import screen_on
    from understudy.report.share.live import ShareDisplay
    from understudy.share.plan import rounds_of
    from understudy.share.session import check_same, new_share, resume_share

    console = Console()
    with long_work(out):
        with ShareDisplay(screen_on(console), rounds_of(config)) as display:
            if run is None:
                run = new_share(out, config, display)
            else:
                run = resume_share(run, check_same(run, config), display)
        report.write(run)
    for table in report.tables(run):
        print_table(table)
    console.print(f"report: {run.report}", soft_wrap=True)
