"""The report of a federation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from understudy.report import Headline
    from understudy.run import RunDirectory


class FederateReport:
    def __init__(self, run: RunDirectory) -> None:
        self.run = run

    def page(self) -> str:
        from understudy.report.federate.page import page

        return page(self.run)

    def tables(self) -> list[Table]:
        from understudy.report.federate.records import read_summary
        from understudy.report.federate.tables import client_table, variant_table

        summary = read_summary(self.run)
        best = summary.best
        found = [variant_table(summary.variants).for_terminal("what the clients learnt")]
        return [*found, client_table(summary.variants[best]).for_terminal(f"clients of {best}")]

    def headline(self) -> Headline:
        """Of the most accurate variant."""
        from understudy.report import head_of
        from understudy.report.federate.records import read_summary

        summary, settings = read_summary(self.run), self.run.settings()
        best = summary.variants[summary.best]
        return {
            "recipe": "federate",
            "seed": ", ".join(map(str, settings.get("seeds", []))),
            **head_of(summary),
            "most accurate": summary.best,
            "forgetting": best.forgetting.mean,
        }
