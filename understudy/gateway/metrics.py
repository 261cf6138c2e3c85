"""What Prometheus reads at /metrics.

Names are near vLLM's and LiteLLM's where they mean the same. Labels have few values: who answered,
which cloud of the settings, which route; never a key, a caller's model or a text, but for the caps
of keys, of which forty are shown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from understudy.errors import LedgerUnavailable
from understudy.gateway.door.exchange import Exchange
from understudy.gateway.engine import Engine
from understudy.gateway.standings import standings
from understudy.gateway.trace import Trace
from understudy.store.batches import AsyncLedger
from understudy.store.events import EventWriter
from understudy.store.keys import Key
from understudy.store.operations import Standing

_LEDGER_SECONDS = 2.0

# Seconds, as vLLM's; those of a whole answer begin earlier, for small models.
_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20)
_WHOLE = (0.005, 0.025, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 60, 120, 240, 480)
_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2.5)

_METHODS = {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}
_REASONS = {"stop", "length", "tool_calls", "content_filter"}
_OTHER = "other"


class _Followed:
    """A counter of what is counted elsewhere."""

    def __init__(self, counter: Counter) -> None:
        self._counter, self._seen = counter, 0

    def up_to(self, count: int) -> None:
        self._counter.inc(max(count - self._seen, 0))
        self._seen = count


class Metrics:
    """Told of every answer and every HTTP request that ended. In the event loop."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each
        self.registry = CollectorRegistry()
        self.engine: Engine | None = None
        self.ledger: AsyncLedger | None = None
        self.writer: EventWriter | None = None
        self.keys: Callable[[], Sequence[Key]] = list  # reads the database
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._requests = self._counter(
            "requests", "Questions that ended, by who answered", "answered_by"
        )
        self._asked = self._counter("asked", "Questions for which a cloud was called")
        self._hung_up = self._counter("hung_up", "Questions whose client went away")
        self._success = self._counter(
            "request_success", "Answers that were given, by how they ended", "finished_reason"
        )
        self._refused = self._counter("refused", "Questions that got no answer", "status")
        self._prompt = self._counter("prompt_tokens", "Tokens of questions answered", "answered_by")
        self._written = self._counter("generation_tokens", "Tokens of answers", "answered_by")
        self._spend = self._counter("spend_dollars", "Dollars that clouds took", "cloud")
        self._calls = self._counter("cloud_calls", "Calls to clouds", "cloud", "outcome")
        self._cloud_tokens = self._counter("cloud_tokens", "Tokens clouds took", "cloud", "type")
        self._estimated = self._counter(
            "estimated_costs", "Questions whose cost no cloud told, so that it was reckoned"
        )
        self._first = self._histogram(
            "time_to_first_token", "Until the first byte of an answer", _FIRST, "answered_by"
        )
        self._whole = self._histogram(
            "e2e_request_latency", "Until an answer was whole", _WHOLE, "answered_by"
        )
        self._per_token = self._histogram(
            "request_time_per_output_token",
            "Between two tokens of an answer, on average",
            _TOKEN,
            "answered_by",
        )
        self._decision = self._histogram(
            "decision_time", "Until the local model had shown who answers", _FIRST
        )
        self._http = self._counter(
            "http_requests", "HTTP requests that ended", "route", "method", "status"
        )
        self._http_seconds = self._histogram(
            "http_request_duration", "Until an HTTP request was answered", _WHOLE, "route"
        )
        self._make_gauges()

    def answered(self, trace: Trace) -> None:
        """A question has ended, and is paid."""
        decision = trace.decision
        self._hung_up.inc(trace.hung_up)
        self._asked.inc(trace.asked)
        self._estimated.inc(trace.estimated)
        self._charge(trace)
        if trace.draft_seconds is not None:
            self._decision.observe(trace.draft_seconds)
        if decision is None:
            return
        who = decision.answered_by
        self._requests.labels(who).inc()
        if who == "refused":
            self._refused.labels(str(trace.status)).inc()
            return
        self._prompt.labels(who).inc(trace.prompt_tokens)
        self._written.labels(who).inc(trace.completion_tokens)
        if trace.first_seconds is not None:
            self._first.labels(who).observe(trace.first_seconds)
            if trace.request.stream and trace.completion_tokens > 1:
                between = max(trace.seconds - trace.first_seconds, 0.0)
                self._per_token.labels(who).observe(between / (trace.completion_tokens - 1))
        self._whole.labels(who).observe(trace.seconds)
        if trace.finish_reason and not trace.error:
            reason = trace.finish_reason if trace.finish_reason in _REASONS else _OTHER
            self._success.labels(reason).inc()

    def finished(self, exchange: Exchange) -> None:
        """An HTTP request has ended, whatever it was."""
        route = exchange.route or _OTHER
        method = exchange.method if exchange.method in _METHODS else _OTHER
        self._http.labels(route, method, str(exchange.status)).inc()
        self._http_seconds.labels(route).observe(exchange.seconds)

    async def page(self) -> tuple[bytes, str]:
        """The metrics, and their content type."""
        if self.engine is not None:
            load = self.engine.load_now()
            self._running.set(load.running)
            self._waiting.set(load.waiting)
            self._speed.set(load.tokens_per_second)
            self._version.clear()
            for version in self.engine.versions():
                self._version.labels(version).set(1)
        if self.writer is not None:
            self._lost.up_to(self.writer.lost)
        if self.ledger is not None:
            await self._look_at(self.ledger)
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    async def _look_at(self, ledger: AsyncLedger) -> None:
        now = time.time()
        self._overruns.up_to(ledger.ledger.overruns)
        try:
            async with asyncio.timeout(_LEDGER_SECONDS):
                keys = await asyncio.to_thread(self.keys)
                found = await standings(ledger, keys, now)
        except (LedgerUnavailable, TimeoutError):
            self._ledger_up.set(0)
            return  # the caps stay as they were last seen
        self._ledger_up.set(1)
        for gauge in self._caps:
            gauge.clear()
        for each in found:
            self._show(each, now)

    def _show(self, standing: Standing, now: float) -> None:
        labels = (standing.scope, standing.cap.name)
        amounts = (standing.most, standing.left, standing.held)
        for gauge, amount in zip(self._caps, amounts, strict=False):
            gauge.labels(*labels).set(amount)
        if standing.resets_at is not None:
            self._caps[-1].labels(*labels).set(max(standing.resets_at - now, 0.0))

    def _charge(self, trace: Trace) -> None:
        """Each cloud that was called, with what it took."""
        dollars, tokens = trace.cloud_cost.dollars, trace.cloud_cost
        prompt, written = tokens.prompt_tokens, tokens.completion_tokens
        for failed in trace.failed:
            cost = failed.cost
            self._bill(failed.cloud, "failed", cost.dollars, cost.prompt_tokens)
            self._cloud_tokens.labels(failed.cloud, "completion").inc(cost.completion_tokens)
            dollars -= cost.dollars
            prompt -= cost.prompt_tokens
            written -= cost.completion_tokens
        if trace.cloud:
            self._bill(trace.cloud, "answered", max(dollars, 0.0), max(prompt, 0))
            self._cloud_tokens.labels(trace.cloud, "completion").inc(max(written, 0))

    def _bill(self, cloud: str, outcome: str, dollars: float, prompt_tokens: int) -> None:
        self._calls.labels(cloud, outcome).inc()
        self._spend.labels(cloud).inc(dollars)
        self._cloud_tokens.labels(cloud, "prompt").inc(prompt_tokens)

    def _make_gauges(self) -> None:
        self._running = self._gauge("num_requests_running", "Answers the local engine writes")
        self._waiting = self._gauge("num_requests_waiting", "Questions that wait for it")
        self._speed = self._gauge("generation_tokens_per_second", "What it writes now")
        self._version = self._gauge("version_info", "1 for each version it has loaded", "version")
        self._ledger_up = self._gauge("ledger_up", "Whether the ledger can be reached")
        self._overruns = _Followed(
            self._counter("ledger_overruns", "Calls that cost more than was held for them")
        )
        self._lost = _Followed(self._counter("events_lost", "Events that could not be kept"))
        scope_and_cap = ("scope", "cap")
        self._caps = (
            self._gauge("max_budget", "The cap, in its own unit", *scope_and_cap),
            self._gauge("remaining_budget", "What is left of it", *scope_and_cap),
            self._gauge("held_budget", "What calls under way hold of it", *scope_and_cap),
            self._gauge("budget_reset_seconds", "Until it begins anew", *scope_and_cap),
        )

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"understudy_{name}", about, labels, registry=self.registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"understudy_{name}", about, labels, registry=self.registry)

    def _histogram(
        self, name: str, about: str, buckets: Sequence[float], *labels: str
    ) -> Histogram:
        return Histogram(
            f"understudy_{name}_seconds", about, labels, buckets=buckets, registry=self.registry
        )
