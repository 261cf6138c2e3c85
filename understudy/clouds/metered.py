"""A cloud behind a cache, a meter and a log: one question is paid for once, all is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from understudy.errors import CheckpointError, UnderstudyError
from understudy.link import Entry, ReplyLog, Spend
from understudy.types import Cloud, Question, Reply, Request

# What a cloud raises for a fault of its program or its settings. All else is a failed call.
_DEFECTS = (
    UnderstudyError,
    AssertionError,
    AttributeError,
    ImportError,
    NameError,
    NotImplementedError,
    TypeError,
)


class MeteredCloud:
    """Answers each question once and remembers it; failures are counted, never remembered.

    Questions are equal where their messages and options are. A question's attempt is the number
    of calls for it that failed before.

    MeteredCloud(cloud): all in memory; `state()` holds the replies too.

    MeteredCloud(cloud, log=ReplyLog(path)): every reply is in the file before it is used, and
    `state()` holds only totals and how much of the file they count. To resume, open the file again
    and give the checkpoint's state: MeteredCloud(cloud, state, ReplyLog(path)). What the file holds
    beyond that state is paid for already: when the same question comes up in the same attempt,
    the logged reply is used and counted as if it came now, and no call is made. No state
    (the run was killed before its first checkpoint) means that nothing is counted yet, and
    everything in the file is paid for.

    `replies` is for a loop that is not asynchronous itself; its event loop, and with it a
    cloud's connections, stay open until `close()`. One batch at a time.
    """

    def __init__(
        self,
        cloud: Cloud,
        state: Mapping[str, Any] | None = None,
        log: ReplyLog | None = None,
    ) -> None:
        self.cloud = cloud
        state = state or {}
        self.spend = Spend(**state.get("spend", {}))
        self._attempts: dict[Question, int] = {
            Question.from_json(question): count for question, count in state.get("attempts", [])
        }
        self._replies: dict[Question, Reply] = {
            Question.from_json(question): Reply(**reply)
            for question, reply in state.get("replies", [])
        }
        self.log = log
        # Replies that are here, but not counted: (line of the log, reply).
        self._paid: dict[tuple[Question, int], tuple[int, Reply]] = {}
        self._runner: asyncio.Runner | None = None
        self._recall(state.get("lines", 0), set(state.get("uncounted", [])))

    async def answer(self, request: Request) -> Reply:
        return (await self.answer_all([request.question]))[0]

    async def answer_all(self, questions: Sequence[Question]) -> list[Reply]:
        """A reply per question, in order; equal questions cross the link once."""
        new = [each for each in dict.fromkeys(questions) if each not in self._replies]
        requests = [Request(question, self._attempts.get(question, 0)) for question in new]
        # Every call is waited for, so that a defect in one loses no reply of the others.
        outcomes = await asyncio.gather(*map(self._crossed, requests), return_exceptions=True)
        fresh: dict[Question, Reply] = {}
        for question, outcome in zip(new, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            fresh[question] = outcome
        for question, request in zip(new, requests, strict=True):
            self._count(question, request.attempt, fresh[question])  # in the order asked:
            # totals must not depend on timing
        answers, seen = [], set()
        for question in questions:
            if question not in fresh or question in seen:
                self.spend = self.spend.with_cache_hit()
            seen.add(question)
            answers.append(fresh.get(question) or self._replies[question])
        return answers

    def replies(self, questions: Sequence[Question]) -> list[Reply]:
        """`answer_all`, waited for; not from within an event loop."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(self.answer_all(questions))

    def close(self) -> None:
        """Close the connections and the log; both open again when they are needed."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None
        if self.log is not None:
            self.log.close()

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs to spend, hit and miss as this one would have.

        With a log: how many of its lines are known, and which of these are not counted, which
        is none but while a resumed run catches up. Those lines are on disk when this returns.
        """
        state: dict[str, Any] = {
            "spend": asdict(self.spend),
            "attempts": [[question.to_json(), count] for question, count in self._attempts.items()],
        }
        if self.log is None:
            replies = self._replies.items()
            return state | {"replies": [[each.to_json(), asdict(reply)] for each, reply in replies]}
        self.log.flush_to_disk()
        uncounted = sorted(line for line, _ in self._paid.values())
        return state | {"lines": len(self.log.entries), "uncounted": uncounted}

    def _recall(self, lines: int, uncounted: set[int]) -> None:
        """Sort the log's lines into those that the state counts and those only paid for."""
        entries = self.log.entries if self.log is not None else []
        if len(entries) < lines:
            where = f"{self.log.path} holds {len(entries)}" if self.log else "there is no log"
            raise CheckpointError(
                f"the checkpoint counts {lines} logged replies, but {where}; "
                "restore the log, or start a new run"
            )
        for line, entry in enumerate(entries):
            if line >= lines or line in uncounted:
                self._paid[entry.question, entry.attempt] = line, entry.reply
            elif entry.reply.error is None:
                self._replies[entry.question] = entry.reply

    async def _crossed(self, request: Request) -> Reply:
        """The reply paid for before, or that of a call, on record before it is used."""
        question, attempt = request.question, request.attempt
        if (question, attempt) in self._paid:
            return self._paid[question, attempt][1]
        try:
            reply = await self.cloud.answer(request)
        except _DEFECTS:
            raise
        except Exception as error:
            reply = Reply(text=None, error=f"{type(error).__name__}: {error}")
        line = self.log.append(Entry(question, attempt, reply)) if self.log is not None else 0
        self._paid[question, attempt] = line, reply
        return reply

    def _count(self, question: Question, attempt: int, reply: Reply) -> None:
        self._paid.pop((question, attempt), None)
        self.spend = self.spend.with_reply(reply)
        if reply.error is None:
            self._replies[question] = reply
        else:
            self._attempts[question] = attempt + 1
