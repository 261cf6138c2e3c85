"""The command line: parse, call, print. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from understudy import __version__, recipes
from understudy.errors import ConfigError, UnderstudyError

if TYPE_CHECKING:
    from understudy.config import Config
    from understudy.offload.method import Serving
    from understudy.run import RunDirectory
    from understudy.share.variants import ShareRun

app = typer.Typer(
    help="Small local models that keep learning, and ask a large one within your budget.",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class _TrainGroup(typer.core.TyperGroup):
    """The recipes as commands; an unknown one is named with those that exist."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        recipes.check_name(cmd_name)
        return super().get_command(ctx, cmd_name)


class _TrainCommand(typer.core.TyperCommand):
    """A recipe's command; its help ends with every setting, read from the code when asked for."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from understudy.report.settings import settings_text

        formatter.write("\n" + settings_text(recipes.defaults(str(self.name))))


class _ShareCommand(typer.core.TyperCommand):
    """Its help ends with every setting, too."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from understudy.report.settings import settings_text
        from understudy.share.variants import ShareRun

        formatter.write("\n" + settings_text({}, ShareRun))


train_app = typer.Typer(
    help="Train a local model through a stream of tasks, by one of the recipes.",
    cls=_TrainGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(train_app, name="train")


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if version:
        print(f"understudy {__version__}")
        raise typer.Exit()


RunArgument = Annotated[Path, typer.Argument(help="a run directory", metavar="RUN")]


def _add_recipe(name: str, summary: str) -> None:
    @train_app.command(name=name, help=summary, cls=_TrainCommand)
    def train(
        out: Annotated[Path, typer.Option(help="the run directory to make", metavar="RUN")],
        config: Annotated[Path | None, typer.Option(help="settings in a YAML file")] = None,
        set_: Annotated[
            list[str] | None, typer.Option("--set", help="one setting", metavar="KEY=VALUE")
        ] = None,
        resume: Annotated[bool, typer.Option(help="continue the run that is there")] = False,
        dry_run: Annotated[bool, typer.Option(help="print the settings and stop")] = False,
    ) -> None:
        _train(name, out, config, set_ or [], resume, dry_run)


for _name, _summary in recipes.NAMES.items():
    _add_recipe(_name, _summary)


def _train(
    recipe: str, out: Path, file: Path | None, overrides: list[str], resume: bool, dry_run: bool
) -> None:
    from understudy.config import resolve_config
    from understudy.run import RunDirectory

    run = RunDirectory.open(out) if resume else None
    base = recipes.defaults(recipe) if run is None else run.settings()
    config = resolve_config(base, file, overrides)
    if config.recipe != recipe:
        raise ConfigError(
            f"recipe={config.recipe}: the command says {recipe}; use train {config.recipe}"
        )
    if run is not None:
        from understudy.offload.session import check_same

        config = check_same(run, config)
    if dry_run:
        from understudy.offload.plan import plan_text

        print(plan_text(config))
        return
    _run(run, out, config)


def _run(run: RunDirectory | None, out: Path, config: Config) -> None:
    from rich.console import Console

    from understudy.offload.phases import total_steps
    from understudy.offload.session import new_run, resume_run
    from understudy.offload.team import join_team
    from understudy.report.offload.live import LiveDisplay
    from understudy.report.offload.page import write_report
    from understudy.report.offload.tables import run_table

    method = recipes.method(config.recipe)(config)
    team = join_team(config.device)
    console = Console(quiet=not team.leads)
    try:
        with LiveDisplay(console, total_steps(config)) as display:
            if run is None:
                run = new_run(out, config, method, display, team)
            else:
                run = resume_run(run, config, method, display, team)
        if not team.leads:
            return
        write_report(run)
    except KeyboardInterrupt:
        sys.unraisablehook = lambda _: None  # what was only half built says nothing when it goes
        print("interrupted; continue with --resume", file=sys.stderr)
        raise typer.Exit(130) from None
    _print_table(run_table(run.read(run.summary), run.read(run.matrix)))
    console.print(f"report: {run.report}", soft_wrap=True)


@app.command(cls=_ShareCommand)
def share(
    out: Annotated[Path, typer.Option(help="the run directory to make", metavar="RUN")],
    config: Annotated[
        Path | None, typer.Argument(help="settings in a YAML file", metavar="CONFIG.yaml")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="one setting", metavar="KEY=VALUE")
    ] = None,
    resume: Annotated[bool, typer.Option(help="continue the run that is there")] = False,
    dry_run: Annotated[bool, typer.Option(help="print the settings and stop")] = False,
) -> None:
    """Let agents on a graph learn together: they share data, parameters or modules."""
    from understudy.run import RunDirectory
    from understudy.settings import resolve_settings
    from understudy.share.variants import ShareRun

    run = RunDirectory.open(out) if resume else None
    asked = resolve_settings(ShareRun, {} if run is None else run.settings(), config, set_ or [])
    if dry_run:
        from understudy.share.plan import plan_text

        print(plan_text(asked))
        return
    _share(run, out, asked)


def _share(run: RunDirectory | None, out: Path, config: ShareRun) -> None:
    from rich.console import Console

    from understudy.report.share.live import ShareDisplay
    from understudy.report.share.page import write_share_report
    from understudy.report.share.tables import fits_table, share_table
    from understudy.share.plan import rounds_of
    from understudy.share.session import check_same, new_share, resume_share

    console = Console()
    try:
        with ShareDisplay(console, rounds_of(config)) as display:
            if run is None:
                run = new_share(out, config, display)
            else:
                run = resume_share(run, check_same(run, config), display)
        write_share_report(run)
    except KeyboardInterrupt:
        print("interrupted; continue with --resume", file=sys.stderr)
        raise typer.Exit(130) from None
    summary = run.read(run.summary)
    _print_table(share_table(summary))
    if summary["fits"]:
        _print_table(fits_table(summary))
    console.print(f"report: {run.report}", soft_wrap=True)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="what to ask")],
    run: Annotated[Path, typer.Option(help="the run whose model answers", metavar="RUN")],
    task: Annotated[
        str | None, typer.Option(help="which of the run's tasks it belongs to; else the last")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Ask a trained model: who answered, why, and what it cost."""
    from understudy.offload.serve import answer_question

    opened = _open_trained(run)
    answer = answer_question(opened, _serving(opened), question, task)
    if as_json:
        print(json.dumps(answer, indent=2))
        return
    print(answer["answer"])
    print(f"  answered by {answer['answered_by']}: {answer['why']}")
    print(f"  cost ${answer['dollars']:.6f}, {answer['cloud_tokens']} cloud tokens")


@app.command("eval")
def evaluate(
    run: RunArgument,
    queries: Annotated[int, typer.Option(help="test questions per task", min=1)] = 1024,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Examine a run's newest model on every task of its stream, greedily, at its budget."""
    from understudy.offload.serve import examine_run
    from understudy.report.offload.tables import exam_table

    opened = _open_trained(run)
    cells = examine_run(opened, _serving(opened), queries)
    if as_json:
        print(json.dumps(cells, indent=2))
        return
    _print_table(exam_table(cells))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="run directories", metavar="RUN...")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Put finished runs side by side."""
    from understudy.report.offload.tables import comparison, comparison_table

    records = comparison([_open_trained(run) for run in runs])
    if as_json:
        print(json.dumps(records, indent=2))
        return
    _print_table(comparison_table(records))


@app.command()
def report(run: RunArgument) -> None:
    """Write a run's report page anew."""
    opened = _open(run)
    if _agents_share(opened):
        from understudy.report.share.page import write_share_report as write
    else:
        from understudy.report.offload.page import write_report as write
    write(opened)
    print(opened.report)


@app.command()
def env() -> None:
    """Print the versions and the machine that results depend on."""
    from understudy.environment import environment

    for key, value in environment().items():
        print(f"{key}: {value}")


def _open(path: Path) -> RunDirectory:
    from understudy.run import RunDirectory

    return RunDirectory.open(path)


def _agents_share(run: RunDirectory) -> bool:
    return run.settings().get("recipe") == "share"


def _open_trained(path: Path) -> RunDirectory:
    run = _open(path)
    if _agents_share(run):
        raise ConfigError(
            f"{path}: a run of understudy share; this command is for those of understudy train"
        )
    return run


def _serving(run: RunDirectory) -> Serving:
    """How the run's recipe decides to ask."""
    from understudy.offload.session import saved_config

    config = saved_config(run)
    return recipes.method(config.recipe)(config).serving


def _print_table(table: Any) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # in a pipe there is no window to fit: every column is whole
        console = Console(width=1000)
    console.print(table)


def main() -> None:
    """Run a command; what the user can mend is one line on standard error and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except UnderstudyError as error:
        _refuse(str(error))
    except typer.TyperException as error:
        message = getattr(error, "format_message", error.__str__)()
        if message.startswith("Usage:"):  # no verb was given: the message is the whole help
            print(message, file=sys.stderr)
            sys.exit(2)
        _refuse(message)
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _refuse(reason: str) -> None:
    print(f"error: {' '.join(reason.split())}", file=sys.stderr)
    sys.exit(2)
