"""`understudy ask`: one question to a trained model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from understudy.cli import options
from understudy.cli.opening import open_model, open_trained
from understudy.cli.printing import print_json


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
    with open_model(open_trained(run), router) as model:
        answer = model.answer(question, task)
    if as_json:
        print_json(asdict(answer))
        return
    print(answer.answer)
    print(f"  answered by {answer.answered_by}: {answer.why}")
    print(f"  cost ${answer.dollars:.6f}, {answer.cloud_tokens} cloud tokens")
