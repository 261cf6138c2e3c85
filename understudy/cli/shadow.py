"""`understudy shadow`: what a local model would have saved, and where it would have been wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli import options
from understudy.cli.printing import print_json, print_table
from understudy.cli.work import shown_work
from understudy.errors import ConfigError

if TYPE_CHECKING:
    from understudy.gateway.shadow.settings import ShadowSettings
    from understudy.gateway.shadow.study import Study


def shadow(
    logs: Annotated[
        list[str],
        typer.Argument(
            help="logs of questions and a cloud's answers: JSON lines of OpenAI, LiteLLM or this "
            "gateway, also .gz; a folder of them; a gateway's store",
            metavar="LOGS",
        ),
    ],
    local: Annotated[
        str | None,
        typer.Option(
            help="who would have answered: a run, a model's folder, a GGUF file, a name of the "
            "hub, or an engine's URL; else the tiny model that ships",
            metavar="RUN|PATH|URL",
        ),
    ] = None,
    local_model: Annotated[str | None, typer.Option(help="its name at a URL")] = None,
    cloud_prices: Annotated[
        str | None,
        typer.Option(
            help="what the cloud charges in dollars per million tokens: 0.5/2 for question and "
            "answer, or a file with your price table; else as the log says",
            metavar="P/C|FILE",
        ),
    ] = None,
    agree: Annotated[
        str | None,
        typer.Option(
            help="what of an answer must agree with the cloud's: exact, text, label, number, "
            "choice, mathematics, marked or json; else as the answers are"
        ),
    ] = None,
    checker: Annotated[
        str | None,
        typer.Option(help="what is right: file.py:function, or a generated family as sums"),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="a model that judges: its endpoint", metavar="URL")
    ] = None,
    judge_model: Annotated[str | None, typer.Option(help="its name there")] = None,
    judge_key_env: Annotated[
        str | None, typer.Option(help="the environment variable that holds its key")
    ] = None,
    labelled: Annotated[
        str | None, typer.Option(help="answers that a person judged, to measure the judge by")
    ] = None,
    max_wrong: Annotated[
        float | None, typer.Option(help="share of wrong answers to bear, else 0.05")
    ] = None,
    dial: Annotated[
        float | None, typer.Option(help="share of the questions to ask, in its place")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="kinds: metadata.NAME, model, route, system, words or none"),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="for the local model's answers, else 10")
    ] = None,
    questions: Annotated[int | None, typer.Option(help="answered locally at most")] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="write answers for a person to judge here, and stop")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="a folder for the page, the figures and the local answers")
    ] = Path("shadow"),
    set_: options.Set = None,
    as_json: options.Json = False,
) -> None:
    """Hold a log of a cloud's answers against a local model: what you would have paid, and how
    often you would have been told something wrong."""
    named = {
        "local.path": local,
        "local.model": local_model,
        "prices": cloud_prices,
        "agree": agree,
        "checker": checker,
        "judge.base_url": judge,
        "judge.model": judge_model,
        "judge.api_key_env": judge_key_env,
        "judge.labelled": labelled,
        "max_wrong": max_wrong,
        "dial": dial,
        "by": by,
        "minutes": minutes,
        "questions": questions,
    }
    settings = _settings(named, set_ or [])
    from understudy.gateway.engine.opening import is_url

    with shown_work(with_torch=not is_url(settings.local.path)):
        done = _done(settings, logs, sheet, out)
    if done is None:
        return
    from understudy.gateway.shadow.study import write_report

    written = write_report(done, out)
    if as_json:
        print_json(done.to_json())
    else:
        _print(done, written)


def _settings(named: dict[str, Any], overrides: list[str]) -> ShadowSettings:
    from understudy.gateway.shadow.settings import ShadowSettings
    from understudy.settings import check_settings, gathered_settings

    given = {name: value for name, value in named.items() if value is not None}
    return check_settings(ShadowSettings, gathered_settings(given, None, overrides))


def _done(settings: ShadowSettings, logs: list[str], sheet: Path | None, out: Path) -> Study | None:
    from understudy.gateway.shadow.logs import read_logs
    from understudy.gateway.shadow.money import load_table, paid
    from understudy.gateway.shadow.study import answer_log, study

    log = read_logs(logs)
    if sheet is None:  # refused before minutes are spent
        paid(log.calls, load_table(settings.prices) if settings.prices else None)
    answers = answer_log(log, settings, out)
    if sheet is None:
        return study(log, answers, settings, logs)
    from understudy.gateway.shadow.judge import sheet as rows_of

    able = [call for call in log.calls if call.digest in answers]
    able = [call for call in able if not answers[call.digest].unable]
    rows = rows_of(able, [answers[call.digest].text for call in able])[:_SHEET]
    try:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        sheet.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--sheet {sheet}: cannot be written ({error.strerror})") from None
    print(f"{sheet}: {len(rows)} answers; write true or false for `right`, then use --labelled")
    return None


_SHEET = 100


def _print(done: Study, page: Path) -> None:
    from understudy.gateway.shadow import words

    found, source = done.found, done.source
    print(words.headline(found))
    print(f"{words.rule(found)} {words.goal(found, source.settings)}\n")
    print_table(words.kind_table(found).for_terminal("By kind of question"))
    for line in (*source.cautions, *words.assumptions(found, source)):
        print(f"- {line}")
    if source.left_out:
        print(f"- Left out of {source.rows} rows, because they {'; they '.join(source.left_out)}.")
    print()
    for what, command in words.next_commands(found, source):
        print(f"{what}:\n  {command}")
    print(f"\nreport: {page}")
