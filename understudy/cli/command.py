"""How the arguments of every verb are read."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from typing import Any

import typer.core

from understudy.errors import ConfigError


class Command(typer.core.TyperCommand):
    """Refuses an option that is given twice and keeps one value: the other would be ignored."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:  # a shell that completes a line asks what may follow
            for option, count in Counter(self._order(ctx, args)).items():
                if count > 1 and option.nargs == 1 and not (option.multiple or option.is_flag):
                    raise ConfigError(f"{option.opts[0]} is given {count} times; give it once")
        return super().parse_args(ctx, args)

    def _order(self, ctx: Any, args: list[str]) -> list[Any]:
        """The options in the order in which they stand, each as often as it does."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        return [each for each in order if isinstance(each, typer.core.TyperOption)]


def with_settings(section: str) -> type[Command]:
    """A command whose help ends with every setting of a section, as module:Class.

    They are read from the code when somebody asks for the help.
    """

    class CommandWithSettings(Command):
        def format_epilog(self, ctx: Any, formatter: Any) -> None:
            from understudy.report.settings import settings_text

            module, _, name = section.partition(":")
            formatter.write("\n" + settings_text(getattr(import_module(module), name)))

    return CommandWithSettings
