"""`understudy chat`: a conversation with a trained model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from understudy.cli import options
from understudy.cli.output import complain
from understudy.cli.printing import print_line
from understudy.cli.work import shown_work
from understudy.errors import RunError


def chat(
    run: Annotated[Path, typer.Argument(help="the run whose model answers", metavar="RUN")],
    task: Annotated[
        str | None, typer.Option(help="which of the run's tasks it belongs to; else the last")
    ] = None,
    router: options.Router = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Talk to a trained model, a line a turn. /new forgets what was said; the end of the input,
    or /quit, ends it. With --json an answer is a line of JSON."""
    from understudy import api

    said: list[dict[str, str]] = []
    spent = 0.0
    with shown_work(quiet=quiet), api.load(run, options.router_choice(router)) as opened:
        opened.ready(task)
        for text in _turns(shows_prompt=not as_json):
            if text == "/new":
                said = []
                continue
            asked = {"role": "user", "content": text}
            try:
                answer = opened.answer([*said, asked], task)
            except RunError as error:  # such as a letter that it cannot read: another turn may do
                if as_json:
                    print_line({"error": str(error)})
                else:
                    complain(f"error: {error}")
                continue
            spent += answer.cost.dollars
            if as_json:
                print_line(answer.to_json())
            elif answer.text is None:
                complain(f"no answer: {answer.why}")
            else:
                print(answer.text)
                if not quiet:
                    print(f"  {answer.answered_by}: {answer.why}; ${spent:.6f} so far", flush=True)
            if answer.text is not None:
                said += [asked, {"role": "assistant", "content": answer.text}]


def _turns(shows_prompt: bool) -> Iterator[str]:
    """What a person writes, until the end."""
    while True:
        if shows_prompt and sys.stdin.isatty():
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line or line.strip() == "/quit":
            return
        if line.strip():
            yield line.strip()
