"""`understudy train`: a local model learns through a stream of tasks, by one of the recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
import typer.core

from understudy import recipes
from understudy.cli import options
from understudy.cli.command import Command
from understudy.cli.printing import print_report
from understudy.cli.work import is_first_process, long_work
from understudy.recipes import RECIPES


class _TrainGroup(typer.core.TyperGroup):
    """The recipes as commands, and a stranger's by its path."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in RECIPES:
            return super().get_command(ctx, cmd_name)
        recipe = recipes.load_method(cmd_name)  # an unknown one is named with those that exist
        alone = typer.Typer(rich_markup_mode=None)
        _add_recipe(alone, cmd_name, (recipe.__doc__ or cmd_name).partition("\n")[0])
        return typer.main.get_command(alone)


class _TrainCommand(Command):
    """A recipe's command; its help ends with every setting, read from the code when asked for."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from understudy.offload.config import Config
        from understudy.report.settings import settings_text

        own = recipes.load_method(str(self.name)).Settings
        formatter.write("\n" + settings_text(own, Config))


app = typer.Typer(
    help="Train a local model through a stream of tasks, by one of the recipes.",
    cls=_TrainGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _add_recipe(group: typer.Typer, name: str, summary: str) -> None:
    @group.command(name=name, help=summary, cls=_TrainCommand)
    def train(
        out: options.Out,
        config: options.Config = None,
        set_: options.Set = None,
        resume: options.Resume = False,
        dry_run: options.DryRun = False,
        no_check: options.NoCheck = False,
    ) -> None:
        _train(name, out, (config, set_ or []), resume, dry_run, not no_check)


for _name in RECIPES:
    _add_recipe(app, _name, RECIPES.summary(_name))


def _train(
    recipe: str,
    out: Path,
    settings: tuple[Path | None, list[str]],  # a file, and overrides
    resume: bool,
    dry_run: bool,
    check: bool,
) -> None:
    from understudy import api
    from understudy.settings import gathered_settings

    given = gathered_settings({}, *settings)
    config = api.train_settings(recipe, out, given, resume)  # refused before torch is imported
    if dry_run:
        from understudy.offload.plan import plan_text

        print(plan_text(config))
        return
    with long_work(out):
        run = api.train(recipe, out=out, config=given, resume=resume, display=True, check=check)
    if is_first_process():
        print_report(run)
