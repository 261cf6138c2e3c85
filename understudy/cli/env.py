"""`understudy env`: what results depend on; with a model, what it is and what it takes to train."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from understudy import recipes
from understudy.cli import options
from understudy.cli.printing import print_json
from understudy.cli.work import shown_work
from understudy.errors import ConfigError

_OF_MODEL = {  # options that say nothing without one
    "config": "--config",
    "set_": "--set",
    "recipe": "--recipe",
    "measure": "--measure and --no-measure",
    "seconds": "--seconds",
}


def env(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(help="what the setting model takes", metavar="MODEL")
    ] = None,
    config: options.Config = None,
    set_: options.Set = None,
    recipe: Annotated[str, typer.Option(help="whose step is measured")] = recipes.DEFAULT,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="try a training step, or do not")
    ] = True,
    seconds: Annotated[float, typer.Option(help="how long to measure, about", min=1)] = 15,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Print the versions and the machine that results depend on; with MODEL, what it is, what a
    run chooses for it, and how much time and memory a training step takes."""
    if model is None:
        for name, option in _OF_MODEL.items():
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                raise ConfigError(f"{option}: only with a model; give MODEL")
        _print_environment(as_json)
        return
    from understudy.settings import gathered_settings

    given = gathered_settings({}, config, set_ or [])
    if given.get("model", model) != model:
        raise ConfigError(f"model={given['model']}: the command says {model}; give one of them")
    given = gathered_settings({"recipe": recipe}, None, {**given, "model": model})
    asked = recipes.check_config(given)  # refused before torch is imported
    with shown_work(quiet=quiet):
        from understudy.offload.settled import settled
        from understudy.report.model import ModelReport

        report = ModelReport.of(
            asked, recipes.build_method(settled(asked)), seconds if measure else None
        )
    if as_json:
        print_json(report.to_json())
    else:
        print("\n".join(report.lines()))


def _print_environment(as_json: bool) -> None:
    from understudy.environment import environment

    found: dict[str, Any] = environment()
    if as_json:
        print_json(found)
        return
    for key, value in found.items():
        print(f"{key}: {value}")
