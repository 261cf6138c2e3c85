"""The report of a run that trains one model on a stream and may ask a cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from understudy.report import Headline
    from understudy.run import RunDirectory

_COMPARED = (
    ("local", "average_accuracy", "local ACC"),
    ("system", "average_accuracy", "system ACC"),
    ("calibrated_system", "average_accuracy", "system ACC at budget"),
    ("system", "during_task", "system, during task"),
    ("system", "post_switch", "system, after switch"),
    ("local", "backward_transfer", "local BWT"),
    ("local", "forgetting", "local forgetting"),
)


class OffloadReport:
    def __init__(self, run: RunDirectory) -> None:
        self.run = run

    def page(self) -> str:
        from understudy.report.offload.page import page

        return page(self.run)

    def tables(self) -> list[Table]:
        from understudy.report.offload.records import read_matrix, read_summary
        from understudy.report.offload.tables import bill_table, phase_table, precision_words

        summary, matrix = read_summary(self.run), read_matrix(self.run)
        precision = precision_words([cell for row in matrix for cell in row.tasks])
        head = " ".join(filter(None, ("Phase by phase.", precision)))
        phases = phase_table(summary.phases, matrix).for_terminal(head)
        return [phases, bill_table(summary).for_terminal("what the cloud was asked, and its cost")]

    def headline(self) -> Headline:
        """Beside the head: accuracies, and the shares asked."""
        from understudy.report import head_of
        from understudy.report.offload.records import read_matrix, read_settings, read_summary
        from understudy.report.parts.numbers import mean_or_none

        settings, summary = read_settings(self.run), read_summary(self.run)
        figures = {name: getattr(summary, which)[key] for which, key, name in _COMPARED}
        end = read_matrix(self.run)[-1].tasks
        labels = {
            "local macro-F1": mean_or_none([cell.macro_f1 for cell in end]),
            "constant answer": mean_or_none([cell.constant for cell in end]),
        }
        asked = [phase.settled_usage for phase in summary.phases]
        return {
            "recipe": settings["recipe"],
            "seed": settings["seed"],
            **head_of(summary),
            **figures,
            **(labels if labels["constant answer"] is not None else {}),
            "asked as served": mean_or_none([cell.ask_rate for cell in end]),
            "asked in training": mean_or_none(asked),
        }
