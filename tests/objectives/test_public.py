"""The room's public surface."""

import inspect
from importlib import import_module

from understudy import objectives

# `terms` is read under its own name: `understudy.objectives.terms`.
MODULES = ("advantages", "dual", "policy_gradient", "privacy", "sharing", "similarity")


def test_all_names_every_public_function_and_nothing_else() -> None:
    public = {
        name
        for module in map(import_module, (f"understudy.objectives.{name}" for name in MODULES))
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        if value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert public | {"LARGEST_SHIFT"} == set(objectives.__all__)
    assert all(inspect.getdoc(getattr(objectives, name)) for name in public)
