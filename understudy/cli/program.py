"""The program: its verbs, and one line for what a user can put right."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Annotated

import typer

from understudy import __version__, interrupt
from understudy.cli import events, keys, together, train
from understudy.cli.ask import ask
from understudy.cli.chat import chat
from understudy.cli.command import Command, with_settings
from understudy.cli.compare import compare
from understudy.cli.env import env
from understudy.cli.evaluate import evaluate
from understudy.cli.export import export
from understudy.cli.init import init
from understudy.cli.output import Output, OutputError, complain
from understudy.cli.report import report
from understudy.cli.serve import serve
from understudy.cli.shadow import shadow
from understudy.errors import UnderstudyError

# Which extra brings a package, by the name that it is imported by.
_EXTRAS = (
    dict.fromkeys(["torch", "safetensors", "tokenizers", "matplotlib", "llguidance"], "local")
    | dict.fromkeys(["starlette", "uvicorn", "orjson", "sqlalchemy"], "gateway")
    | dict.fromkeys(["prometheus_client"], "gateway")
    | {"psycopg": "postgres", "granian": "granian"}
    | dict.fromkeys(["transformers", "peft", "accelerate"], "models")
)
_CLOSED = 141  # what a shell reports of a command whose reader went away

app = typer.Typer(
    help="Small local models that keep learning, and ask a large one within your budget.",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(train.app, name="train")
app.command(cls=Command)(init)
together.add_to(app)
app.command(cls=Command)(ask)
app.command(cls=Command)(chat)
app.command("eval", cls=Command)(evaluate)
app.command(cls=Command)(compare)
app.command(cls=Command)(report)
app.command(cls=Command)(export)
app.command(cls=Command)(env)
app.command(cls=with_settings("understudy.gateway.settings:ServeSettings"))(serve)
app.command(cls=with_settings("understudy.gateway.shadow.settings:ShadowSettings"))(shadow)
app.add_typer(keys.app, name="keys")
app.add_typer(events.app, name="events")


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if version:
        print(f"understudy {__version__}")
        raise typer.Exit()


def main() -> None:
    """Run a command; what the user can put right is one line on standard error and exit code 2."""
    if sys.stdout is None:  # closed before the program began
        sys.exit(_exit_code())
    with contextlib.redirect_stdout(Output(sys.stdout)):
        code = _exit_code()
    sys.exit(code)


def _exit_code() -> int:
    try:
        code = app(prog_name="understudy", standalone_mode=False)
        print(end="", flush=True)
    except OutputError as error:
        return _CLOSED if error.closed else _refused(str(error))
    except UnderstudyError as error:
        return _refused(_missing(error) or str(error))
    except ModuleNotFoundError as error:
        if (reason := _missing(error)) is None:
            raise
        return _refused(reason)
    except typer.TyperException as error:
        message = getattr(error, "format_message", error.__str__)()
        if message.startswith("Usage:"):  # no verb was given: the message is the whole help
            complain(message)
            return 2
        return _refused(message)
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return interrupt.CODE
    return code if isinstance(code, int) else 0


def _missing(error: BaseException) -> str | None:
    """What to install, where an error is for want of a package of ours that is optional."""
    if "pip install" in str(error):
        return None  # it says so itself
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ModuleNotFoundError):
        cause = cause.__cause__
    name = (getattr(cause, "name", None) or "").partition(".")[0]
    if name not in _EXTRAS:
        return None
    extra = _EXTRAS[name]
    return f"this needs {name}, which is not installed here; pip install 'understudy[{extra}]'"


def _refused(reason: str) -> int:
    """One line of every machine, however many processes of it a launcher started."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        complain(f"error: {' '.join(reason.split())}")
    return 2
