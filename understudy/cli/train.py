"""`understudy train`: a local model learns through a stream of tasks, by one of the recipes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
import typer.core

from understudy import recipes
from understudy.cli import options
from understudy.cli.printing import print_table
from understudy.cli.work import long_work
from understudy.errors import ConfigError
from understudy.recipes import RECIPES

if TYPE_CHECKING:
    from understudy.offload.config import Config
    from understudy.run import RunDirectory


class _TrainGroup(typer.core.TyperGroup):
    """The recipes as commands, and a stranger's by its path."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in RECIPES:
            return super().get_command(ctx, cmd_name)
        recipe = recipes.load_method(cmd_name)  # an unknown one is named with those that exist
        alone = typer.Typer(rich_markup_mode=None)
        _add_recipe(alone, cmd_name, (recipe.__doc__ or cmd_name).partition("\n")[0])
        return typer.main.get_command(alone)


class _TrainCommand(typer.core.TyperCommand):
    """A recipe's command; its help ends with every setting, read from the code when asked for."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from understudy.report.settings import settings_text

        formatter.write("\n" + settings_text(recipes.load_method(str(self.name)).Settings))


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
    from understudy.run import RunDirectory

    run = RunDirectory.open(out) if resume else None
    if run is None:
        config = recipes.resolve_config(recipe, *settings)
    else:
        config = recipes.resumed_config(run, *settings)
    if config.recipe != recipe:
        raise ConfigError(
            f"recipe={config.recipe}: the command says {recipe}; use train {config.recipe}"
        )
    if dry_run:
        from understudy.offload.plan import plan_text

        print(plan_text(config))
        return
    _run(run, out, config, check)


def _run(run: RunDirectory | None, out: Path, config: Config, check: bool) -> None:
    from rich.console import Console

    from understudy import report
    from understudy.offload.phases import total_steps
    from understudy.offload.session import new_run, resume_run
    from understudy.offload.team import join_team
    from understudy.report.offload.live import LiveDisplay
    from understudy.report.screen import screen_on

    method = recipes.build_method(config)
    with long_work(out):
        team = join_team(config.device)
        console = Console(quiet=not team.leads)
        with LiveDisplay(screen_on(console), total_steps(config)) as display:
            if run is None:
                run = new_run(out, config, method, display, team, check)
            else:
                run = resume_run(run, config, method, display, team, check)
        if not team.leads:
            return
        report.write(run)
    for table in report.tables(run):
        print_table(table)
    console.print(f"report: {run.report}", soft_wrap=True)
