"""A record in place of a cloud: a question that was paid for once is answered from a file."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from understudy.clouds import CLOUDS
from understudy.clouds.building import build_cloud
from understudy.clouds.calls import reply_of, stream_of
from understudy.clouds.estimates import estimated_cost
from understudy.clouds.failures import FAILED_IN_RECORD, NOT_RECORDED
from understudy.clouds.record import RecordedReply, append_line, read_record, record_files, repair
from understudy.clouds.settings import CloudSettings, refuse_settings_of_a_run
from understudy.errors import ConfigError
from understudy.settings import PATH, Kinds
from understudy.types import AnswerKey, Cloud, Cost, Question, Reply, Request

_LONGEST_SHOWN = 60  # characters of a question in an error
_FROM_RECORD = "recorded"  # what the bill calls the record, where it stands beside a live cloud


class RecordedCloud:
    """Answers from files, by the digest of each question; where a question is twice, the first
    reply that succeeded counts. It costs what it cost when it was recorded.

    What is not in the record goes to the live cloud, or is a failed call. So does a question of
    which the record holds only failed calls; without a live cloud it fails again, at its price.
    The replies are kept in memory.
    """

    class Settings(CloudSettings):
        kind: str = "recorded"
        files: Annotated[list[str], PATH] = Field(
            [], description="records: reply logs, JSONL (perhaps .gz), or folders of runs"
        )
        live: Annotated[CloudSettings, Kinds(CLOUDS, "openai")] | None = Field(
            None, description="settings of the cloud that answers what is not recorded; null: none"
        )
        add: bool = Field(
            False, description="add what the live cloud answers to the last of the files"
        )

        @model_validator(mode="after")
        def _usable(self) -> Self:
            if not self.files:
                raise ValueError("files is empty; give the record's file")
            if self.live is not None:
                refuse_settings_of_a_run(self.live)
            elif self.add:
                raise ValueError("add=true adds what a live cloud answers; set live, too")
            return self

    def __init__(self, settings: Settings, key: AnswerKey) -> None:
        self.settings = settings
        self.live: Cloud | None = None if settings.live is None else build_cloud(settings.live, key)
        self._added_to = Path(settings.files[-1]) if settings.add else None
        self._replies: dict[str, Reply] = {}
        self._prompts: set[int] = set()  # hashes of last turns
        for path in map(Path, settings.files):
            if path == self._added_to:
                if not path.exists():
                    continue
                _prepare(path)
            for file in record_files(path):
                for recorded in read_record(file):
                    self._keep(recorded)

    @property
    def address(self) -> str:
        record = f"the record {', '.join(self.settings.files)}"
        live = getattr(self.live, "address", None)
        return f"{record}, then {live}" if live else record

    def __len__(self) -> int:
        """How many questions have a reply that succeeded."""
        return sum(reply.error is None for reply in self._replies.values())

    async def answer(self, request: Request) -> Reply:
        found = self._found(request.question)
        if found is not None:
            return found
        assert self.live is not None
        return self._of_live(request.question, await reply_of(self.live, request))

    async def stream(self, request: Request) -> AsyncIterator[str | Reply]:
        found = self._found(request.question)
        if found is not None:
            if found.text:
                yield found.text
            yield found
            return
        assert self.live is not None
        async for part in stream_of(self.live, request):
            yield part if isinstance(part, str) else self._of_live(request.question, part)

    def estimate(self, question: Question) -> Cost:
        """What the recorded reply cost; the live cloud's estimate where there is none."""
        found = self._found(question)
        if found is not None:
            return found.cost
        assert self.live is not None
        return estimated_cost(self.live, question)

    def _found(self, question: Question) -> Reply | None:
        """The recorded reply, or the failed call in its place. None: the live cloud is asked."""
        reply = self._replies.get(question.digest)
        if self.live is not None:
            usable = reply is not None and reply.error is None
            return replace(reply, cloud=_FROM_RECORD) if reply and usable else None
        if reply is None:
            return Reply(text=None, error=f"{NOT_RECORDED}: {self._described(question)}")
        if reply.error not in (None, "truncated"):
            return replace(reply, error=f"{FAILED_IN_RECORD}: {reply.error}")
        return reply

    def _described(self, question: Question) -> str:
        shown = " ".join(question.prompt.split())
        if len(shown) > _LONGEST_SHOWN:
            shown = shown[: _LONGEST_SHOWN - 3] + "..."
        other = hash(question.prompt) in self._prompts
        hint = " (it is there with another instruction, history or options)" if other else ""
        return f"question {question.digest} {shown!r}{hint}"

    def _of_live(self, question: Question, reply: Reply) -> Reply:
        assert self.settings.live is not None
        reply = replace(reply, cloud=reply.cloud or self.settings.live.kind)
        if reply.error is None:
            recorded = RecordedReply(question.digest, question, reply)
            self._keep(recorded)
            if self._added_to is not None:
                self._add(self._added_to, recorded)
        return reply

    def _keep(self, recorded: RecordedReply) -> None:
        known = self._replies.get(recorded.digest)
        if known is None or (known.error is not None and recorded.reply.error is None):
            self._replies[recorded.digest] = recorded.reply
        if recorded.question is not None:
            self._prompts.add(hash(recorded.question.prompt))

    def _add(self, path: Path, recorded: RecordedReply) -> None:
        try:
            append_line(path, recorded)
        except OSError as error:  # the run's own log keeps the reply
            reason = f"{path}: replies are not added to the record ({error.strerror})"
            warnings.warn(reason, stacklevel=2)


def _prepare(path: Path) -> None:
    try:
        repair(path)
    except OSError as error:
        raise ConfigError(
            f"cloud.add: {path} cannot be written ({error.strerror}); give a file as the last of "
            "cloud.files, or set cloud.add=false"
        ) from None
