"""What a gateway is told to serve, opened: a run, a model, or an engine by its URL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.errors import ConfigError
from understudy.gateway.engine import Engine
from understudy.gateway.engine.options import DEFAULT, EngineOptions, Form

if TYPE_CHECKING:
    from understudy.gateway.engine.local import LocalEngine


def is_url(what: str) -> bool:
    return what.startswith(("http://", "https://"))


async def open_engine(
    what: str,
    *,
    name: str = "",
    model: str = "",
    key: str | None = None,
    form: Form = "task",
    task: str = "",
    options: EngineOptions = DEFAULT,
) -> Engine:
    """what: a run's folder, a model ('tiny', a folder, a GGUF file, a name of the hub), or the URL
    of an engine, as http://localhost:8000/v1.

    name: how its versions are called; '': by what it is. model, key: at a URL. form: whether a
    run's questions get their task's instruction and examples; task: which, where a job names none.
    Raises UnderstudyError.
    """
    if is_url(what):
        from understudy.gateway.engine.url import open_url

        return await open_url(what, model=model, key=key, name=name, options=options)
    return await asyncio.to_thread(_open_local, what, name, form, task, options)


def _open_local(what: str, name: str, form: Form, task: str, options: EngineOptions) -> LocalEngine:
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise ConfigError(
            f"local.path={what}: a model in this process needs torch; pip install "
            "'understudy[local]', or give an engine's URL, or none"
        ) from None
    if (Path(what) / "config.yaml").is_file():
        from understudy.gateway.engine.served_run import open_run

        return open_run(Path(what), name, form, task, options)
    from understudy.gateway.engine.served_model import open_model

    return open_model(what, name, options)
