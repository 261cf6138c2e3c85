"""The program: its verbs, and one line for whatever a user can mend."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from understudy import __version__
from understudy.cli import train
from understudy.cli.ask import ask
from understudy.cli.compare import compare
from understudy.cli.env import env
from understudy.cli.evaluate import evaluate
from understudy.cli.report import report
from understudy.cli.share import ShareCommand, share
from understudy.errors import UnderstudyError

app = typer.Typer(
    help="Small local models that keep learning, and ask a large one within your budget.",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(train.app, name="train")
app.command(cls=ShareCommand)(share)
app.command()(ask)
app.command("eval")(evaluate)
app.command()(compare)
app.command()(report)
app.command()(env)


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if version:
        print(f"understudy {__version__}")
        raise typer.Exit()


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
