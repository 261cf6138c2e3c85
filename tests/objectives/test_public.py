"""The room's public surface."""

import inspect
import types

from understudy import objectives


def test_all_names_every_public_function_and_nothing_else() -> None:
    public = {
        name
        for name, value in vars(objectives).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(objectives.__all__)
    assert all(inspect.getdoc(getattr(objectives, name)) for name in public)
