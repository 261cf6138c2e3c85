"""What the tests of the tasks share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from understudy.tasks.judge import Judge


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    """One for all tests: math-verify takes seconds to import."""
    with Judge() as judge:
        yield judge
