"""The public surface of the room."""

from __future__ import annotations

import inspect

from understudy import metrics
from understudy.metrics import (
    budget,
    continual,
    evaluation,
    labels,
    routing,
    sharing,
    summary,
    users,
)


def test_all_lists_every_public_name() -> None:
    public = {
        name
        for module in (budget, continual, evaluation, labels, routing, sharing, summary, users)
        for name, each in inspect.getmembers(module, lambda each: callable(each))
        if getattr(each, "__module__", "") == module.__name__ and not name.startswith("_")
    }
    assert metrics.__all__ == sorted(public)
    assert all(callable(getattr(metrics, name)) for name in metrics.__all__)
    assert all(inspect.getdoc(getattr(metrics, name)) for name in metrics.__all__)
