"""`understudy report`: a run's page, written anew."""

from __future__ import annotations

from understudy.cli import options
from understudy.cli.opening import is_shared, open_run


def report(run: options.Run) -> None:
    """Write a run's report page anew."""
    opened = open_run(run)
    if is_shared(opened):
        from understudy.report.share.page import write_share_report as write
    else:
        from understudy.report.offload.page import write_report as write
    write(opened)
    print(opened.report)
