"""The description says what the gateway does: schemathesis asks it so, and in every wrong way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.gateway.door.wire import call
from tests.gateway.kept import kept
from tests.gateway.serving import WAIT, Served, eventually, serving

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    unsupported_method,
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    async def metrics() -> tuple[bytes, str]:
        return b"up 1\n", "text/plain; charset=utf-8"

    with (
        kept(tmp_path_factory.mktemp("kept")) as store,
        serving(metrics=metrics, events=store.events) as found,
    ):
        yield found


def check_operation(operation: Any, mode: GenerationMode) -> None:
    @seed(1)
    @settings(
        max_examples=6,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def calls(case: Any) -> None:
        case.call_and_validate(checks=CHECKS, timeout=WAIT)

    calls()


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_gateway_does_what_its_description_says(served: Served, mode: GenerationMode) -> None:
    """Asked as the description has it, and in ways that it forbids."""
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    operations = [each.ok() for each in schema.get_all_operations()]
    assert len(operations) == 18
    for operation in operations:
        try:
            check_operation(operation, mode)
        except Unsatisfiable:
            assert mode == GenerationMode.NEGATIVE  # nothing in it can be wrong
    eventually(lambda: served.door.flight.running == 0)


def test_every_route_is_described(served: Served) -> None:
    found = call(served, "GET", "/openapi.json").json
    paths = {(method.upper(), path) for path, item in found["paths"].items() for method in item}
    assert ("POST", "/v1/chat/completions") in paths
    assert ("GET", "/v1/chat/completions/{completion}/messages") in paths
    assert ("GET", "/v1/models/{model}") in paths
    assert len(paths) == 18
    bodies = found["components"]["schemas"]
    assert bodies["ChatBody"]["properties"]["temperature"]["anyOf"][0]["maximum"] == 2
