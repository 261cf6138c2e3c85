"""`understudy ask`: one question to a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli import options
from understudy.cli.printing import print_json
from understudy.cli.work import shown_work


def ask(
    question: Annotated[str, typer.Argument(help="what to ask")],
    run: Annotated[Path, typer.Option(help="the run whose model answers", metavar="RUN")],
    task: Annotated[
        str | None, typer.Option(help="which of the run's tasks it belongs to; else the last")
    ] = None,
    router: options.Router = None,
    as_json: options.Json = False,
) -> None:
    """Ask a trained model: who answered, why, and what it cost."""
    from understudy import api

    with shown_work(), api.load(run, options.router_choice(router)) as opened:
        answer = opened.answer(question, task)
    if as_json:
        print_json(answer.to_json())
        return
    cost = answer.cost
    print(answer.text)
    print(f"  answered by {answer.answered_by}: {answer.why}")
    tokens = cost.prompt_tokens + cost.completion_tokens
    print(f"  cost ${cost.dollars:.6f}, {tokens} cloud tokens")
