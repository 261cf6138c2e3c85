"""The options and arguments that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.errors import ConfigError

Run = Annotated[Path, typer.Argument(help="a run directory", metavar="RUN")]
Out = Annotated[Path, typer.Option(help="the run directory to make", metavar="RUN")]
Config = Annotated[Path | None, typer.Option(help="settings in a YAML file")]
Set = Annotated[list[str] | None, typer.Option("--set", help="one setting", metavar="KEY=VALUE")]
Resume = Annotated[bool, typer.Option(help="continue the run that is there")]
DryRun = Annotated[bool, typer.Option(help="print the settings and stop")]
NoCheck = Annotated[
    bool, typer.Option("--no-check", help="do not try the cloud with one question first")
]
Store = Annotated[
    str,
    typer.Option(
        help="the gateway's store: a file or postgresql://...; else as UNDERSTUDY_STORE says, or "
        "in the user's data directory",
        metavar="URL",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="show results and warnings alone")]
Router = Annotated[
    str | None,
    typer.Option(
        help="who decides what is asked, in place of the run's own: a name, file.py:Name, or "
        "settings as '{kind: file.py:Name, weight: 2}'"
    ),
]


def router_choice(text: str | None) -> Any:
    """A router as it is given on the command line: its name, or its settings in YAML."""
    if text is None or not text.lstrip().startswith("{"):
        return text
    import yaml

    from understudy.given import load_yaml

    try:
        return load_yaml(text)
    except yaml.YAMLError:
        raise ConfigError(f"--router {text}: is no YAML mapping of settings") from None
