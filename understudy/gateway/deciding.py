"""Who decides for a local model: as the settings say, else the run's own router, else nobody."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from understudy.errors import ConfigError
from understudy.gateway.engine import Engine
from understudy.gateway.local import TaskOf
from understudy.gateway.policy import Cascade, NeverAsks, Policy, Signal
from understudy.gateway.settings import PolicySettings

if TYPE_CHECKING:
    from understudy.gateway.routed import Generate
    from understudy.routing.calibration import Calibrations


@dataclass(frozen=True, slots=True)
class Deciding:
    policy: Callable[[str], Policy]
    task_of: TaskOf
    tasks: Collection[str] = ()  # that have a router; (): who decides knows none


def deciding_for(
    engine: Engine,
    settings: PolicySettings,
    calibrations: Calibrations | None,
    generate: Callable[[], Generate],
    usual: str,
    warn: Callable[[str], None],
) -> Deciding:
    """calibrations: of the run, or of what lies beside the model; usual: the task of a question
    that names none; '': as they say."""
    if settings.cascade:
        _check_signals(engine, set(settings.cascade), "policy.cascade")
        return _same(Cascade(settings.cascade))
    if calibrations is None and settings.router is None:
        warn(
            "nothing says when this local model needs help, so only requests for model=cloud or "
            "with a dial of 1 ask: set policy.cascade, such as {mean_logprob: -0.8}, or "
            "policy.router with policy.threshold"
        )
        return _same(NeverAsks())
    from understudy.gateway.routed import Routed
    from understudy.routing.calibration import at_threshold
    from understudy.routing.router import build_router

    if calibrations is None:
        assert settings.router is not None
        router = build_router(settings.router)
        _check_signals(engine, router.needs, f"policy.router={settings.router.kind}")
        fitted = at_threshold(router, settings.threshold or 0.0)
        return _same(Routed(fitted, settings.threshold or 0.0, generate()))
    if usual and usual not in calibrations.tasks:
        known = ", ".join(calibrations.tasks)
        raise ConfigError(f"local.task={usual}: this model knows {known}")
    routed: dict[str, Policy] = {}
    for name, each in calibrations.tasks.items():
        _check_signals(engine, each.router.needs, "the run's router")
        if settings.threshold is not None:
            each = at_threshold(each.router, settings.threshold, each.scores)
        writes = generate() if each.router.gathers else None
        routed[name] = Routed(each, 0.0, writes)
    return Deciding(
        lambda task: routed.get(task) or routed[usual or calibrations.usual],
        _recognised(routed, usual),
        tuple(routed),
    )


def check_fitted(settings: PolicySettings, calibrations: Calibrations | None) -> None:
    """Refuse a router that nothing says how much to ask."""
    router = settings.router
    if router is None or calibrations is not None:
        return
    if settings.threshold is None and settings.dial is None:
        raise ConfigError(
            f"policy.router={router.kind}: there is no run to fit it on; give policy.threshold, "
            "or policy.dial where it sends a share at random"
        )


def _same(policy: Policy) -> Deciding:
    return Deciding(lambda task: policy, lambda named, text: named)


def _recognised(known: Mapping[str, Policy], usual: str) -> TaskOf:
    """Generated questions show by their form which task they are."""
    from understudy.tasks import FAMILIES
    from understudy.tasks.recognise import recognise, typed

    generated = any(name in FAMILIES for name in known)

    def task_of(named: str, text: str) -> str:
        if named or usual or not generated:
            return named or usual
        problem = recognise(typed(text))
        return problem.family if problem is not None and problem.family in known else ""

    return task_of


def _check_signals(engine: Engine, needs: object, where: str) -> None:
    """Refuse what decides by a signal that the engine does not give."""
    assert isinstance(needs, set | tuple | list | frozenset)
    missing = ({*needs} & {*get_args(Signal)}) - engine.signals
    if missing:
        gives = ", ".join(sorted(engine.signals)) or "none"
        raise ConfigError(
            f"{where}: needs {', '.join(sorted(missing))}, and this local engine gives {gives}; "
            "use another policy.router, or policy.cascade"
        )
