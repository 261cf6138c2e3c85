"""The public surface of the room."""

from __future__ import annotations

import inspect

from understudy import metrics
from understudy.metrics import budget, continual, evaluation, routing, sharing, users


def test_all_lists_every_public_function() -> None:
    functions = {
        name
        for module in (budget, continual, evaluation, routing, sharing, users)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
    assert metrics.__all__ == sorted(functions)
    assert all(callable(getattr(metrics, name)) for name in metrics.__all__)
    assert all(inspect.getdoc(getattr(metrics, name)) for name in metrics.__all__)
