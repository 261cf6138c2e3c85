"""The model's own request: it asks when asking is its likeliest next token, as in training."""

from __future__ import annotations

from typing import ClassVar

from understudy.routing.router import RequestRouter


class Own(RequestRouter):
    """Nothing is fitted, so nothing holds it to the budget but training."""

    by_margin: ClassVar[bool] = True
