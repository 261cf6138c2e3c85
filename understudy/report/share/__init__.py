"""The report of a run of agents that share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from understudy.report import Headline
    from understudy.run import RunDirectory


class ShareReport:
    def __init__(self, run: RunDirectory) -> None:
        self.run = run

    def page(self) -> str:
        from understudy.report.share.page import page

        return page(self.run)

    def tables(self) -> list[Table]:
        from understudy.report.share.records import read_summary
        from understudy.report.share.tables import fit_table, variant_table

        summary = read_summary(self.run)
        found = [variant_table(summary.variants).for_terminal("what sharing brought")]
        if summary.fits:
            title = "gain on ln(floats per edge and task)"
            found.append(fit_table(summary.fits).for_terminal(title))
        return found

    def headline(self) -> Headline:
        """Of the most accurate variant."""
        from understudy.report import head_of
        from understudy.report.share.records import read_summary
        from understudy.share.records import best_of

        summary, settings = read_summary(self.run), self.run.settings()
        name = best_of(summary.variants)
        best = summary.variants[name]
        return {
            "recipe": "share",
            "seed": ", ".join(map(str, settings.get("seeds", []))),
            **head_of(summary),
            "most accurate": name,
            "learning speed": best.learning_speed.mean,
            "gain, %": best.gain.mean if best.gain else None,
        }
