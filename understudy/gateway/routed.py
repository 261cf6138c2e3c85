"""Any `Router` as the policy of a gateway: fitted, turned by a dial, and asked one question at a
time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from understudy.clouds.estimates import about_tokens
from understudy.gateway.engine import Engine, Job, Written
from understudy.gateway.policy import Verdict
from understudy.routing.calibration import Calibration
from understudy.routing.evidence import Evidence, Generated
from understudy.routing.router import Router, drafts_first
from understudy.routing.rows import evidence_of
from understudy.types import Question

_TURNED = 256  # different settings of the dial that are remembered


class Routed:
    """Decides by a router. count: how many tokens the local model reads a question as."""

    def __init__(
        self,
        calibration: Calibration,
        own_threshold: float,
        generate: Generate | None = None,
        count: Callable[[Question], int] | None = None,
    ) -> None:
        self.calibration, self.own_threshold = calibration, own_threshold
        self.drafts = drafts_first(calibration.router)
        self._generate = generate
        self._count = count or (lambda question: about_tokens(len(question.prompt.encode())))
        self._turned = lru_cache(_TURNED)(calibration.turned)

    def ask_above(self, dial: float | None) -> float | None:
        router = self._turned(dial)
        return router.threshold if getattr(router, "by_margin", False) else None

    async def decide(
        self, question: Question, draft: Written | None, dial: float | None, luck: float
    ) -> Verdict:
        router = self._turned(dial)
        if draft is not None and draft.margin is None and "margin" in router.needs:
            return Verdict(False, "the engine did not say how much the local model asks for help")
        row = _Row(draft) if draft is not None else _Row(None, self._count(question))
        evidence = evidence_of([question], [row], self.own_threshold)
        if not router.gathers:
            return _verdict(router, evidence, luck)
        if self._generate is None:
            raise ValueError(f"router {type(router).__name__} lets the local model write more")
        generate = partial(self._generate.waited, asyncio.get_running_loop())
        gathered = await asyncio.to_thread(router.gather, evidence, generate)
        return _verdict(router, gathered, luck)


def _verdict(router: Router, evidence: Evidence, luck: float) -> Verdict:
    asks = luck < float(router.decisions(evidence)[0])
    score = float(router.scores(evidence)[0])
    return Verdict(asks, router.why(evidence), score, router.threshold)


class _Row:
    """What a local answer says of itself; nothing where there is none yet."""

    def __init__(self, draft: Written | None, prompt_tokens: int = 0) -> None:
        self.answer = draft.text if draft else ""
        self.margin = _number(draft.margin if draft else None)
        self.mean_entropy = _number(draft.mean_entropy if draft else None)
        self.prompt_tokens = draft.prompt_tokens if draft else prompt_tokens
        self.completion_tokens = draft.completion_tokens if draft else 0


def _number(value: float | None) -> float:
    return 0.0 if value is None or math.isnan(value) else value


@dataclass(frozen=True, slots=True)
class Generate:
    """The local engine, for routers that must generate text to know."""

    engine: Engine
    version: Callable[[], str]
    max_tokens: int

    def waited(self, loop: asyncio.AbstractEventLoop, questions: Sequence[Question]) -> Generated:
        """From another thread than the loop's."""
        return asyncio.run_coroutine_threadsafe(self.generated(questions), loop).result()

    async def generated(self, questions: Sequence[Question]) -> Generated:
        found = await asyncio.gather(*(self._written(question) for question in questions))
        return Generated(
            tuple(each.text for each in found),
            sum(each.prompt_tokens for each in found),
            sum(each.completion_tokens for each in found),
        )

    async def _written(self, question: Question) -> Written:
        options = question.options
        job = Job(
            id=f"router-{question.digest[:16]}",
            messages=tuple(question.chat),
            version=self.version(),
            max_tokens=options.max_tokens or self.max_tokens,
            temperature=options.temperature or 0.0,
            seed=options.seed,
            stop=options.stop,
        )
        async for item in self.engine.write(job):
            if isinstance(item, Written):
                return item
        raise RuntimeError("an engine's last item is what was written")
