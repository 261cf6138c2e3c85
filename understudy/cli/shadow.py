"""`understudy shadow`: what a local model would have saved, and where it would have been wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.cli import options
from understudy.cli import shadow_options as own
from understudy.cli.output import complain, new_file
from understudy.cli.printing import print_json, print_table
from understudy.cli.work import shown_work
from understudy.errors import ConfigError, UnderstudyError

if TYPE_CHECKING:
    from understudy.gateway.shadow.settings import ShadowSettings
    from understudy.gateway.shadow.study import Study


def shadow(
    logs: own.Logs = None,
    listen: own.Listen = None,
    cloud: own.Cloud = None,
    local: own.Local = None,
    local_model: own.LocalModel = None,
    cloud_prices: own.CloudPrices = None,
    agree: own.Agree = None,
    checker: own.Checker = None,
    judge: own.Judge = None,
    judge_model: own.JudgeModel = None,
    judge_key_env: own.JudgeKeyEnv = None,
    labelled: own.Labelled = None,
    max_wrong: own.MaxWrong = None,
    dial: own.Dial = None,
    by: own.By = None,
    minutes: own.Minutes = None,
    questions: own.Questions = None,
    sheet: own.Sheet = None,
    out: own.Out = Path("shadow"),
    config: options.Config = None,
    set_: options.Set = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
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
    settings = _settings(config, named, set_ or [])
    done = _found(settings, logs or [], listen, cloud, sheet, out, quiet)
    if done is not None and as_json:
        print_json(done.to_json())
    elif done is not None:
        _print(done, out)


def _settings(config: Path | None, named: dict[str, Any], overrides: list[str]) -> ShadowSettings:
    """The file, then the options, then --set."""
    from understudy.gateway.shadow.settings import ShadowSettings
    from understudy.settings import check_settings, gathered_settings

    given = {name: value for name, value in named.items() if value is not None}
    found = gathered_settings(gathered_settings({}, config, {}), None, given)
    return check_settings(ShadowSettings, gathered_settings(found, None, overrides))


def _found(
    settings: ShadowSettings,
    logs: list[str],
    listen: str | None,
    cloud: str | None,
    sheet: Path | None,
    out: Path,
    quiet: bool,
) -> Study | None:
    """The report, which is written too; None: there is none."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: is a file; give a folder")
    if listen is not None:
        if logs or sheet is not None:
            raise ConfigError("--listen reports on live traffic; give it without LOGS and --sheet")
        if cloud is None:
            raise ConfigError("--listen: give --cloud too, where the traffic is passed on to")
        return _listened(settings, listen, cloud, out, quiet)
    if cloud is not None:
        raise ConfigError("--cloud is where live traffic goes; give --listen too")
    if not logs:
        raise ConfigError("give LOGS, or --listen and --cloud for live traffic")
    from understudy.gateway.engine.opening import is_url
    from understudy.gateway.shadow.study import write_report

    with shown_work(with_torch=not is_url(settings.local.path), quiet=quiet):
        done = _done(settings, logs, sheet, out)
    if done is not None:
        write_report(done, out)
    return done


def _listened(
    settings: ShadowSettings, listen: str, cloud: str, out: Path, quiet: bool
) -> Study | None:
    from understudy.gateway.shadow.listening import address_of
    from understudy.gateway.shadow.listening import listen as passed

    def on_ready(url: str) -> None:
        if quiet:
            return
        complain(
            f"understudy passes {url}/v1 on to {cloud}; give your clients that base URL.\n"
            f"A report is written to {out} every minute, and when you stop it (Ctrl-C)."
        )

    address = address_of(listen)
    watching = passed(
        settings, cloud, address, out, lambda text: complain(f"warning: {text}"), on_ready
    )
    try:
        return watching.report()
    except UnderstudyError as error:
        complain(f"no report: {error}")
        return None


def _done(settings: ShadowSettings, logs: list[str], sheet: Path | None, out: Path) -> Study | None:
    from understudy.gateway.shadow.kinds import kinds_of
    from understudy.gateway.shadow.logs import read_logs
    from understudy.gateway.shadow.money import load_table, paid
    from understudy.gateway.shadow.study import answer_log, study, verdicts_of

    log = read_logs(logs)
    if sheet is None:  # refused before minutes are spent
        paid(log.calls, load_table(settings.prices) if settings.prices else None)
        if settings.by:
            kinds_of(log.calls, settings.by)
        verdicts = verdicts_of(log.calls, settings)
        return study(log, answer_log(log, settings, out), settings, logs, verdicts)
    if sheet.exists():  # with what a person wrote into it
        raise ConfigError(f"--sheet {sheet}: is there already; give a new file's name")
    answers = answer_log(log, settings, out)
    from understudy.gateway.shadow.judge import sheet as rows_of

    able = [call for call in log.calls if call.digest in answers]
    able = [call for call in able if not answers[call.digest].unable]
    rows = rows_of(able, [answers[call.digest].text for call in able])[:_SHEET]
    with new_file(sheet, "--sheet") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    print(f"{sheet}: {len(rows)} answers; write true or false for `right`, then use --labelled")
    return None


_SHEET = 100


def _print(done: Study, out: Path) -> None:
    from understudy.gateway.shadow import words
    from understudy.gateway.shadow.study import PAGE

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
    print(f"\nreport: {out / PAGE}")
