"""Gateways for tests: a scripted local engine, mock clouds on sockets, a real ledger in a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tests.gateway.upstream import MockUpstream
from understudy.gateway.asking import Asking
from understudy.gateway.conversations import Conversations
from understudy.gateway.core import Gateway
from understudy.gateway.engine import EngineBusy, EngineError, EngineLoad, Job, Piece, Written
from understudy.gateway.engine.fields import unserved
from understudy.gateway.latencies import Usual
from understudy.gateway.local import LocalSide
from understudy.gateway.names import Names
from understudy.gateway.policy import Policy
from understudy.gateway.requests import Caller, ChatRequest, Outcome
from understudy.gateway.routed import Routed
from understudy.gateway.settings import PolicySettings, SpendingSettings
from understudy.gateway.trace import Trace
from understudy.gateway.upstreams.choice import Choice, candidate_of
from understudy.gateway.upstreams.openai import OpenAIUpstream
from understudy.gateway.way import Parts
from understudy.routing.calibration import Calibration
from understudy.routing.router import build_router, chosen_router
from understudy.store.batches import AsyncLedger
from understudy.store.caps import Cap
from understudy.store.database import open_database
from understudy.store.ledger import Ledger

# Of a hundred calibration questions: 0.5 asks above 49.5.
SCORES = tuple(float(score) for score in range(100))


class ScriptedEngine:
    """Writes the words of the question. A word such as `margin=3` sets the lead for asking from
    then on; `slow` takes `seconds`; `broken`, `busy` do what they say."""

    signals = frozenset({"margin", "mean_entropy", "mean_logprob"})

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.jobs: list[Job] = []
        self.running = self.finished = 0

    async def write(self, job: Job) -> AsyncIterator[Piece | Written]:
        self.jobs.append(job)
        said = job.prompt if job.prompt is not None else str(job.messages[-1]["content"])
        words, margin = said.split(), -1.0
        if "busy" in words:
            raise EngineBusy("full", 2.5)
        self.running += 1
        try:
            for number, word in enumerate(words):
                await asyncio.sleep(self.seconds if word == "slow" else 0)
                if word == "broken":
                    raise EngineError("broken by the test")
                if word.startswith("margin="):
                    margin = max(margin, float(word.partition("=")[2]))
                yield Piece(word if number == 0 else f" {word}", margin=margin)
            self.finished += 1
            yield Written(said, "stop", len(words), 0, len(words), job.version, margin, 0.5, -0.25)
        finally:
            self.running -= 1

    def unserved(self, body: Mapping[str, Any]) -> str:
        return unserved(body)

    def versions(self) -> list[str]:
        return ["tiny@1", "tiny@2"]

    async def load(self, version: str, folder: Path) -> None: ...

    async def unload(self, version: str) -> None: ...

    def load_now(self) -> EngineLoad:
        return EngineLoad(self.running, 0, 0.0)

    async def close(self) -> None: ...


def routed(threshold: float = 0.0, kind: str = "calibrated") -> Policy:
    router: Any = build_router(chosen_router(kind))
    fitted = type(router)(router.settings, budget=0.3, threshold=threshold)
    return Routed(Calibration(fitted, SCORES), own_threshold=0.0)


@dataclass
class Built:
    gateway: Gateway
    ledger: AsyncLedger
    engine: ScriptedEngine
    traces: list[Trace] = field(default_factory=list)

    async def ask(self, text: str = "hello", caller: Caller | None = None, **body: Any) -> Outcome:
        whole = {"model": "auto", "messages": [{"role": "user", "content": text}], **body}
        request = ChatRequest(whole, orjson.dumps(whole))
        return await self.gateway.answer(request, caller or Caller("k1", request_id="r1"))

    async def settled(self) -> Trace:
        """The newest trace, once every call is paid."""
        while self.gateway.parts.asking._running:
            await asyncio.sleep(0.005)
        return self.traces[-1]

    def dollars(self) -> float:
        return self.ledger.ledger.spent("total").dollars


@asynccontextmanager
async def gateway(
    folder: Path,
    clouds: Sequence[MockUpstream] = (),
    caps: Sequence[Cap] = (),
    *,
    policy: Policy | None = None,
    engine: ScriptedEngine | None = None,
    cloud: dict[str, Any] | None = None,
    spending: dict[str, Any] | None = None,
    local: bool = True,
    order: Any = "listed",
    **settings: Any,
) -> AsyncIterator[Built]:
    """cloud: more settings of the clouds, which are called c0, c1, ..."""
    given = {"model": "big", "prices": {"prompt": 1.0, "completion": 10.0}, **(cloud or {})}
    candidates = [
        candidate_of(
            f"c{number}",
            OpenAIUpstream.Settings.model_validate({"base_url": mock.url, **given}),
            usual=0.9,
        )
        for number, mock in enumerate(clouds)
    ]
    choice = Choice(candidates, order)
    ledger = Ledger(open_database(str(folder / "ledger.db")), caps)
    engine = engine or ScriptedEngine()
    decides = policy or routed()
    side = LocalSide(engine, lambda task: decides, "tiny@2")
    rules = PolicySettings.model_validate(settings)
    async with AsyncLedger(ledger) as books:
        spend = SpendingSettings.model_validate({"wait_seconds": 0.2, **(spending or {})})
        asking = Asking(choice, books, spend)
        built = Built(None, books, engine)  # type: ignore[arg-type]
        parts = Parts(
            side if local else None,
            asking,
            Names(choice, rules.models),
            Conversations(rules.sticky_seconds),
            rules,
            built.traces.append,
            Usual(rules.usual),
        )
        built.gateway = Gateway(parts)
        try:
            yield built
        finally:
            await built.gateway.close()


async def streamed(outcome: Outcome) -> list[dict[str, Any]]:
    assert outcome.chunks is not None
    return [orjson.loads(chunk) async for chunk in outcome.chunks]


def content(chunks: Sequence[dict[str, Any]], name: str = "content") -> str:
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk.get("choices")]
    return "".join(delta.get(name) or "" for delta in deltas)
