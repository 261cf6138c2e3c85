"""What the settings of every method say. Imports nothing heavy."""

from __future__ import annotations

from typing import ClassVar

from understudy.settings import KindSection


class MethodSettings(KindSection):
    """Of one method; derive from it and add fields."""

    served_by: ClassVar[str] = "average"  # the kind of server that belongs to it
    servers: ClassVar[tuple[str, ...]] = ("average", "none")  # that it can have
    small: ClassVar[bool] = False  # whether its clients have small networks

    @property
    def tuned(self) -> tuple[int, ...]:
        """Blocks of the foundation that are adapted; none: its features stay as they are."""
        return ()
