"""`understudy train`: a local model learns through a stream of tasks, by one of the recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
import typer.core

from understudy import recipes
from understudy.cli import options
from understudy.cli.command import Command
from understudy.cli.printing import print_json, print_report
from understudy.cli.work import display_of, is_first_process, long_work
from understudy.recipes import RECIPES

if TYPE_CHECKING:
    from understudy.offload.config import Config


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
        as_json: options.Json = False,
        quiet: options.Quiet = False,
    ) -> None:
        from understudy import api
        from understudy.settings import gathered_settings

        given = gathered_settings({}, config, set_ or [])
        settings = api.train_settings(name, out, given, resume)  # refused before torch is imported
        if dry_run:
            _print_plan(settings, as_json)
            return
        display, check = display_of(as_json, quiet), not no_check
        with long_work(out):
            run = api.train(
                name, out=out, config=given, resume=resume, display=display, check=check
            )
        if is_first_process():
            print_report(run, as_json)


for _name in RECIPES:
    _add_recipe(app, _name, RECIPES.summary(_name))


def _print_plan(config: Config, as_json: bool) -> None:
    from understudy.offload.plan import plan_text

    if as_json:
        print_json(config.model_dump(mode="json"))
    else:
        print(plan_text(config))
