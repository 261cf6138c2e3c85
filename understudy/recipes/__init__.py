"""One readable method per file, found by name; settings of a run, checked by the recipe's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.errors import ConfigError
from understudy.registry import Registry

if TYPE_CHECKING:
    from understudy.offload.config import Config
    from understudy.offload.method import Method
    from understudy.run import RunDirectory

DEFAULT = "understudy"
TOGETHER = ("share", "federate")  # what runs of several learners have in place of a recipe
RECIPES = Registry(
    "recipe",
    {
        "understudy": (
            "understudy.recipes.understudy:Understudy",
            "ours: a shifted request, a clearing price, a budget that is a bound",
        ),
        "dagrpo": (
            "understudy.recipes.dagrpo:DualAdvantage",
            "DA-GRPO as published: dual advantage, integral price",
        ),
        "gapg": (
            "understudy.recipes.gapg:FilteredPolicyGradient",
            "GAPG: a lower reward for help, prompts filtered",
        ),
        "grpo": (
            "understudy.recipes.grpo:TaskOnly",
            "GRPO on the task alone; help goes to random questions",
        ),
        "shaped": (
            "understudy.recipes.shaped:ShapedReward",
            "GRPO with a fixed price of asking inside the reward",
        ),
    },
)


def load_method(recipe: str) -> type[Method]:
    """The class of a recipe that ships, or of a stranger's, as file.py:Name."""
    from understudy.offload.method import Method

    found = RECIPES.load(recipe)
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise ConfigError(
            f"recipe={recipe}: is no method; write a subclass of understudy.offload.method.Method"
        )
    if found.advantage is Method.advantage:
        raise ConfigError(
            f"recipe={recipe}: {found.__name__} has no advantage; write advantage(self, scores, "
            "dual), which says how far each response is pushed"
        )
    return found


def build_method(config: Config) -> Method:
    load_method(config.recipe)  # refused if it is none
    method: Method = RECIPES.make(config.recipe, config)
    return method


def resolve_config(recipe: str | None, file: Path | None, overrides: Sequence[str]) -> Config:
    """A run's settings: the recipe's defaults, then a YAML file, then `key=value` overrides."""
    from understudy.settings import gathered_settings

    named = {} if recipe is None else {"recipe": recipe}
    return check_config(gathered_settings(named, file, overrides))


def whole_name(recipe: object) -> str:
    """The name of a recipe that ships, or a stranger's, whose path means the same anywhere."""
    from understudy.given import anchored  # with yaml, which --help does without

    return str(recipe) if recipe in RECIPES.known else str(anchored(recipe))


def check_config(settings: Mapping[str, Any]) -> Config:
    """The settings as those of their recipe; one that would have no effect is refused."""
    from understudy.settings import check_settings

    recipe = whole_name(settings.get("recipe", DEFAULT))
    return check_settings(load_method(recipe).Settings, {**settings, "recipe": recipe}, _others)


def saved_config(run: RunDirectory) -> Config:
    """The settings of a run, all of which stand in its directory."""
    from understudy.settings import check_complete

    settings = run.settings()
    if (recipe := settings.get("recipe")) in TOGETHER:
        raise ConfigError(
            f"{run.path}: a run of understudy {recipe}; this is for those of understudy train"
        )
    config = check_config(settings)
    check_complete(settings, config, run.config)
    return config


def resumed_config(
    run: RunDirectory, file: Path | None, overrides: Sequence[str] | Mapping[str, Any]
) -> Config:
    """The settings of a run that is to go on; others than it has are refused, but for its caps and
    its trackers."""
    from understudy.offload.settled import settled
    from understudy.settings import check_unchanged, gathered_settings
    from understudy.trackers.settings import FREE

    kept = saved_config(run)
    asked = check_config(gathered_settings(kept.model_dump(mode="json"), file, overrides))
    asked = settled(asked)
    check_unchanged(kept, asked, run.path, {*_CAPS, *FREE})
    return kept.model_copy(update={name: getattr(asked, name) for name in ("cloud", *FREE)})


_CAPS = ("cloud.max_calls", "cloud.max_dollars", "cloud.at_cap")


def _others() -> Iterator[tuple[str, type[Config]]]:
    """The settings of every recipe that ships, to say where one belongs."""
    return ((f"recipe {name}", load_method(name).Settings) for name in RECIPES)
