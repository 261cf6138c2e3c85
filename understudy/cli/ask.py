"""`understudy ask`: a question, or many, to a trained model."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from understudy.cli import options
from understudy.cli.output import complain
from understudy.cli.printing import print_json, print_line
from understudy.cli.work import shown_work
from understudy.errors import ConfigError, UnderstudyError

if TYPE_CHECKING:
    from understudy.api import Answer, Run

NO_ANSWER = 1  # exit code: nothing was wrong with the command, but there is no answer


def ask(
    run: Annotated[Path, typer.Option(help="the run whose model answers", metavar="RUN")],
    question: Annotated[
        str | None, typer.Argument(help="what to ask; -: what standard input holds")
    ] = None,
    jsonl: Annotated[
        str | None,
        typer.Option(
            help="questions, one JSON object a line: prompt or messages, perhaps id and task; "
            "-: standard input. A line of JSON answers each as it is read",
            metavar="FILE",
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="which of the run's tasks it belongs to; else the last")
    ] = None,
    router: options.Router = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Ask a trained model: who answered, why, and what it cost."""
    from understudy import api

    if (question is None) == (jsonl is None):
        raise ConfigError("give a question, - for standard input, or --jsonl FILE")
    if jsonl is not None and as_json:
        raise ConfigError("--json: the answers to --jsonl are JSON already; leave it out")
    with shown_work(quiet=quiet), api.load(run, options.router_choice(router)) as opened:
        if jsonl is not None:
            with _lines(jsonl) as lines:
                answered = all(list(_answered_lines(opened, _text_of(lines, jsonl), task)))
        else:
            text = sys.stdin.read() if question == "-" else str(question)
            answered = _show(opened.answer(text, task), as_json)
    if not answered:
        raise typer.Exit(NO_ANSWER)


def _show(answer: Answer, as_json: bool) -> bool:
    """Print an answer; whether there is one."""
    if as_json:
        print_json(answer.to_json())
    elif answer.text is None:
        complain(f"no answer: {answer.why}")
    else:
        print(answer.text)
        print(f"  answered by {answer.answered_by}: {answer.why}")
    if not as_json:
        tokens = answer.cost.prompt_tokens + answer.cost.completion_tokens
        print(f"  cost ${answer.cost.dollars:.6f}, {tokens} cloud tokens")
    return answer.text is not None


def _lines(path: str) -> Any:
    """A file of questions, or standard input, which stays open."""
    if path == "-":
        return nullcontext(sys.stdin)
    try:
        return Path(path).open(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--jsonl {path}: cannot be read ({error.strerror})") from None


def _text_of(lines: TextIO, path: str) -> Iterator[str]:
    try:
        yield from lines
    except UnicodeDecodeError:
        raise ConfigError(f"--jsonl {path}: is no UTF-8 text; save it as UTF-8") from None


def _answered_lines(run: Run, lines: Iterable[str], task: str | None) -> Iterator[bool]:
    """A line is printed for every line that holds something; whether it has an answer."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        given: dict[str, Any] = {"line": number}
        try:
            row = _row(line)
            given |= {"id": row["id"]} if "id" in row else {}
            messages = row["messages"] if "messages" in row else row["prompt"]
            answer = run.answer(messages, row.get("task", task))
        except UnderstudyError as error:
            print_line(given | {"error": str(error)})
            yield False
        else:
            print_line(given | answer.to_json())
            yield answer.text is not None


def _row(line: str) -> dict[str, Any]:
    import json

    try:
        row = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"is no JSON ({error})") from None
    if isinstance(row, str):
        return {"prompt": row}
    if not isinstance(row, dict) or ("prompt" in row) == ("messages" in row):
        raise ConfigError("give an object with prompt or messages")
    return row
