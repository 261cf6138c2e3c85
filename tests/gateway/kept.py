"""Stored completions and feedback in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.gateway.dialects.feedback import Feedback
from understudy.gateway.dialects.stored import Wanted

ASKED = {"role": "user", "content": "one two"}


class KeptCompletions:
    """Some completions of two keys."""

    def __init__(self, count: int = 5) -> None:
        self.rows: dict[str, dict[str, Any]] = {
            f"chatcmpl-{number}": {
                "id": f"chatcmpl-{number}",
                "object": "chat.completion",
                "created": 1700000000 + number,
                "model": "echo@7",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "one"}}],
                "metadata": {"parity": "odd" if number % 2 else "even"},
            }
            for number in range(count)
        }
        self.keys = {
            name: "k1" if row["created"] < 1700000004 else "k2" for name, row in self.rows.items()
        }

    async def list(self, wanted: Wanted) -> Sequence[Mapping[str, Any]]:
        rows = [
            row
            for row in self.rows.values()
            if wanted.key in (None, self.keys[row["id"]])
            and all(row["metadata"].get(name) == each for name, each in wanted.metadata.items())
        ]
        if wanted.newest_first:
            rows.reverse()
        names = [row["id"] for row in rows]
        start = names.index(wanted.after) + 1 if wanted.after in names else 0
        return rows[start : start + wanted.limit]

    async def get(self, completion_id: str, key: str | None) -> Mapping[str, Any] | None:
        return self.rows.get(completion_id) if self._may(completion_id, key) else None

    async def messages(
        self, completion_id: str, key: str | None
    ) -> Sequence[Mapping[str, Any]] | None:
        return [ASKED] if self._may(completion_id, key) else None

    async def update(
        self, completion_id: str, key: str | None, metadata: Mapping[str, str]
    ) -> Mapping[str, Any] | None:
        if not self._may(completion_id, key):
            return None
        self.rows[completion_id]["metadata"] = dict(metadata)
        return self.rows[completion_id]

    async def delete(self, completion_id: str, key: str | None) -> bool:
        found = self._may(completion_id, key)
        if found:
            del self.rows[completion_id]
        return found

    def _may(self, completion_id: str, key: str | None) -> bool:
        return completion_id in self.rows and key in (None, self.keys[completion_id])


class KeptFeedback:
    """Feedback on answers whose id begins as a completion's does."""

    def __init__(self) -> None:
        self.given: list[Feedback] = []

    async def add(self, feedback: Feedback, everybodys: bool) -> bool:
        if feedback.answer and not feedback.answer.startswith("chatcmpl-"):
            return False
        self.given.append(feedback)
        return True
