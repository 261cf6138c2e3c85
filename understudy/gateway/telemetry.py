"""OpenTelemetry's metrics of generative AI, beside Prometheus's: another watcher of answers.

Their names are changing. The older ones are given, unless OTEL_SEMCONV_STABILITY_OPT_IN names
`gen_ai_latest_experimental` (the newer ones) or `gen_ai/dup` (both). Where they go is for the
OpenTelemetry SDK: run `opentelemetry-instrument understudy serve` with its own variables, such as
OTEL_EXPORTER_OTLP_ENDPOINT.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from understudy.errors import ConfigError
from understudy.gateway.requests import AUTO, CLOUD, LOCAL
from understudy.gateway.trace import Trace

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

_OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"
_WHOLE, _FIRST = "gen_ai.client.operation.duration", "gen_ai.server.time_to_first_token"
_TOKENS = "gen_ai.client.token.usage"
_NEW_FIRST = "gen_ai.client.operation.time_to_first_chunk"
_NEW_TOKENS = "gen_ai.client.inference.usage.{}_tokens"

Attributes = dict[str, str | int]


class Telemetry:
    """meter: where it is measured; None: the process's own."""

    def __init__(self, meter: Meter | None = None) -> None:
        try:
            from opentelemetry import metrics
        except ImportError:
            raise ConfigError(
                "OpenTelemetry is not installed; pip install 'understudy[otel]'"
            ) from None
        meter = meter or metrics.get_meter("understudy")
        self.new, self.old = chosen_names(os.environ.get(_OPT_IN, ""))
        first = [_FIRST] * self.old + [_NEW_FIRST] * self.new
        self._whole = meter.create_histogram(_WHOLE, "s", "Until an answer was whole")
        self._first = [meter.create_histogram(name, "s", "Until its first byte") for name in first]
        self._tokens = meter.create_histogram(_TOKENS, "{token}", "Tokens") if self.old else None
        self._by_type = {
            kind: meter.create_histogram(_NEW_TOKENS.format(kind), "{token}", f"{kind} tokens")
            for kind in (("input", "output") if self.new else ())
        }

    def answered(self, trace: Trace) -> None:
        about = attributes_of(trace)
        self._whole.record(trace.seconds, about)
        if trace.first_seconds is not None:
            for histogram in self._first:
                histogram.record(trace.first_seconds, about)
        if trace.decision is None or trace.decision.answered_by == "refused":
            return
        counts = {"input": trace.prompt_tokens, "output": trace.completion_tokens}
        for kind, count in counts.items():
            if self._tokens is not None:
                self._tokens.record(count, {**about, "gen_ai.token.type": kind})
            if kind in self._by_type:
                self._by_type[kind].record(count, about)


def chosen_names(opted_in: str) -> tuple[bool, bool]:
    """Whether the newer names are given, and whether the older ones are."""
    given = {each.strip() for each in opted_in.split(",")}
    both = "gen_ai/dup" in given
    new = both or "gen_ai_latest_experimental" in given
    return new, both or not new


def attributes_of(trace: Trace) -> Attributes:
    """Of few values each: what a caller may make up is not among them."""
    decision, asked_for = trace.decision, trace.request.model
    provider = trace.cloud or "understudy"
    found: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": provider,
        "gen_ai.provider.name": provider,
    }
    if decision is not None and decision.answered_by != "refused":
        found["gen_ai.response.model"] = decision.model
        known = asked_for in (AUTO, LOCAL, CLOUD, decision.model)
        found["gen_ai.request.model"] = asked_for if known else decision.model
    if trace.status >= 400 or trace.error:
        found["error.type"] = str(trace.status) if trace.status >= 400 else "broken_off"
    return found
