"""docs/config.md, the settings by their owner: `python -m understudy.cli.settings`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from understudy import recipes
from understudy.federate.methods import METHODS
from understudy.federate.servers import SERVERS
from understudy.federate.variants import FederateRun
from understudy.gateway.settings import ServeSettings
from understudy.gateway.upstreams import UPSTREAMS
from understudy.offload.config import Config
from understudy.report.settings import settings_table
from understudy.settings import Kinds, described_settings
from understudy.share.variants import ShareRun

_HEAD = """# Settings

Generated from the code by `python -m understudy.cli.settings`. Set them with `--set key=value`
(dots reach into sections), or in a YAML file given to `--config`. A setting that would have no
effect is refused. `understudy train RECIPE --help` lists the settings of one recipe.

## Of every recipe
"""


def settings_page() -> str:
    common = described_settings(Config)
    lines = [_HEAD, *settings_table(row for row in common if not row.owner)]
    for recipe in recipes.RECIPES:
        lines += _of_recipe(recipe)
    for owner, rows in groupby((row for row in common if row.owner), lambda row: row.owner):
        field, _, kind = owner.partition(" ")
        lines += ["", f"## Of {owner}", "", f"They apply where `{field}.kind={kind}`.", ""]
        lines += settings_table(rows)
    lines += ["", "## Of agents that share", "", "What a file for `understudy share` may say.", ""]
    lines += settings_table(described_settings(ShareRun))
    lines += _of_federations()
    lines += _of_serving()
    return "\n".join(lines) + "\n"


def _of_federations() -> Iterator[str]:
    """Those of every federation, and of each kind of method and server."""
    said = "What a file for `understudy federate` may say."
    yield from ("", "## Of a federation", "", said, "")
    yield from settings_table(row for row in described_settings(FederateRun) if not row.owner)
    for registry, known in ((METHODS, "fed_lscl"), (SERVERS, "average")):
        kinds = Kinds(registry, known)
        for name in registry:
            rows = described_settings(kinds.settings(name), f"{registry.what}.")
            own = [row for row in rows if row.key != f"{registry.what}.kind"]
            if own:
                summary = registry.summary(name)
                yield from ("", f"## Of {registry.what} {name}", "", f"{summary}.".capitalize(), "")
                yield from settings_table(own)


def _of_serving() -> Iterator[str]:
    """Those of the gateway, and of each kind of cloud that it may have."""
    said = "What a file for `understudy serve --config FILE` may say."
    yield from ("", "## Of understudy serve", "", said, "")
    yield from settings_table(row for row in described_settings(ServeSettings) if not row.owner)
    kinds = Kinds(UPSTREAMS, "openai")
    for name in UPSTREAMS:
        head = f"## Of clouds of kind {name}"
        summary = UPSTREAMS.summary(name)
        yield from ("", head, "", f"{summary[0].upper()}{summary[1:]}.", "")
        rows = described_settings(kinds.settings(name), "clouds.NAME.")
        yield from settings_table(row for row in rows if not row.owner)


def _of_recipe(recipe: str) -> Iterator[str]:
    """A recipe's own settings, and those with another default than in general."""
    common = set(described_settings(Config))
    own = described_settings(recipes.load_method(recipe).Settings)
    changed = [row for row in own if row not in common and not row.owner]
    yield from ("", f"## Of recipe {recipe}", "")
    yield from settings_table(changed) if changed else ("It has none of its own.",)


if __name__ == "__main__":
    print(settings_page(), end="")
