"""The clouds are looked at as the gateway starts: what is wrong with one is a warning.

Nothing is asked that costs something. A cloud that is away now may be there when it is needed, so
the gateway serves all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from understudy.gateway.upstreams.calls import Upstream, UpstreamError
from understudy.gateway.upstreams.choice import Choice
from understudy.gateway.upstreams.failing import ADVICE

_SHOWN = 8  # models


async def check_clouds(choice: Choice, warn: Callable[[str], None]) -> None:
    """A line for each trouble, with the clouds that have it."""
    upstreams = [candidate.upstream for candidate in choice.candidates]
    found = await asyncio.gather(*(_trouble(each) for each in upstreams))
    troubled: dict[str, list[str]] = {}
    for upstream, trouble in zip(upstreams, found, strict=True):
        if trouble:
            troubled.setdefault(trouble, []).append(f"clouds.{upstream.name}")
    for trouble, clouds in troubled.items():
        warn(f"{', '.join(clouds)}: {trouble}; the gateway serves all the same")


async def _trouble(upstream: Upstream) -> str:
    """What is wrong and what to do; '': nothing is known to be."""
    try:
        models = await upstream.models()
    except UpstreamError as error:
        return _of_error(upstream.address, error)
    except Exception as error:  # of a class that somebody else wrote
        return f"its models cannot be asked for ({type(error).__name__})"
    if models is None or has_model(models, upstream.model):
        return ""
    known = ", ".join(models[:_SHOWN]) + (", ..." if len(models) > _SHOWN else "")
    where, model = upstream.address, upstream.model
    return f"{where} lists no model {model}, but {known or 'none'}; check its setting model"


def _of_error(address: str, error: UpstreamError) -> str:
    if error.status is None:
        return f"nobody answers at {address} ({error}); start it, or check its base_url"
    if error.status in (401, 402):
        return f"{address} answers {error}: {ADVICE[error.status]}"
    return (
        f"{address} does not say which models it has ({error}), so nobody knows whether it "
        "answers; where it does not, check base_url (up to /v1), the key and model"
    )


def has_model(models: Sequence[str], model: str) -> bool:
    """Some endpoints list a model by more than its name.

    >>> has_model(["models/big", "small:latest"], "big"), has_model(["small:latest"], "small")
    (True, True)
    >>> has_model(["bigger"], "big")
    False
    """
    return any(
        model in (each, each.rpartition("/")[2], each.removesuffix(":latest")) for each in models
    )
