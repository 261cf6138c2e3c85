"""The server: it takes what clients send, refuses what is unsound, and answers each.

step(turn, inbox):
    take each message that is sound; note why any other is refused
    serve:  let the aggregation answer the whole uploads of the round
            send what is ready to the clients that take a step next
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from understudy.actors.jobs import Step
from understudy.federate.crossing import About, message, read
from understudy.federate.entries import ActorReport, Refusal, ServerEntry
from understudy.federate.methods.method import Common, Method
from understudy.federate.servers.aggregation import Aggregation, Upload
from understudy.federate.turn import SERVER, Turn
from understudy.link.carrier import Inbox, Message


class Server:
    def __init__(self, method: type[Method], aggregation: Aggregation, common: Common) -> None:
        self.aggregation, self.config = aggregation, common.config
        self.uploads = method.uploads(common)
        self.log: list[ServerEntry] = []
        self.events: Counter[str] = Counter()
        self._arrived: dict[int, Upload] = {}  # by client, perhaps not yet of all kinds
        self._newest: dict[int, int] = {}  # by client: the round of the last that was used
        self._ready: dict[int, dict[str, Any]] = {}  # by client and kind: not sent yet
        self._round: dict[int, int] = {}  # by client: of which that is the answer
        self._refused: list[Refusal] = []

    def step(self, turn: Turn, inbox: Inbox) -> Step:
        for each in inbox.messages:
            if reason := self._take(each, turn.round):
                self._refuse(each.sender, each.kind, reason)
        whole = self._whole()
        self.aggregation.round = turn.round
        answers = yield from self.aggregation.answers(whole)
        for client, kinds in answers.items():
            self._ready[client] = dict(kinds)
            self._round[client] = turn.round
        figures = dict(self.aggregation.figures) if whole else {}
        self.log.append(ServerEntry(turn.task, turn.round, list(whole), self._refused, figures))
        self._refused = []
        return self._outbox(turn)

    def _take(self, given: Message, now: int) -> str:
        """Why a message is refused; nothing: it was taken."""
        client = given.sender
        reason, about, arrays = read(given, self.uploads, self.config.trust.largest)
        if about is not None and about.client != client:
            return "another client's id"
        if client not in range(1, self.config.clients + 1):
            return "no client"
        if reason or about is None:
            return reason
        if about.round > now:
            return "a round that is not yet"
        if about.round <= self._newest.get(client, -1):
            return "replayed round"
        most = self.config.trust.max_age
        if most is not None and about.round < now - most:
            return "too old"
        known = self._arrived.get(client)
        if known is not None and about.round < known.round:
            return "older than another"
        if known is None or about.round > known.round:
            known = self._arrived[client] = Upload(about.round, about.samples, {})
        if given.kind in known.kinds:
            return "sent twice"
        known.kinds[given.kind] = arrays
        return ""

    def _whole(self) -> dict[int, Upload]:
        """Uploads of which every kind is there; what is in part is refused."""
        whole = {}
        for client, upload in sorted(self._arrived.items()):
            if set(upload.kinds) == set(self.uploads):
                whole[client] = upload
                self._newest[client] = upload.round
            else:
                self._refuse(client, ", ".join(upload.kinds), "incomplete")
        self._arrived = {}
        return whole

    def _refuse(self, client: int, kind: str, reason: str) -> None:
        self._refused.append(Refusal(client, kind, reason))
        self.events[f"{kind}: {reason}"] += 1

    def _outbox(self, turn: Turn) -> list[Message]:
        outbox = []
        for client in sorted(set(turn.to) & set(self._ready)):
            about = About(client, self._round[client], 0)
            kinds = self._ready.pop(client)
            outbox += [message(SERVER, client, kind, kinds[kind], about) for kind in kinds]
        return outbox

    def state(self) -> dict[str, Any]:
        return {
            "aggregation": self.aggregation.state(),
            "log": self.log,
            "events": self.events,
            "arrived": self._arrived,
            "newest": self._newest,
            "ready": self._ready,
            "round": self._round,
            "refused": self._refused,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.aggregation.restore(state["aggregation"])
        self.log, self.events = state["log"], state["events"]
        self._arrived, self._newest = state["arrived"], state["newest"]
        self._ready, self._round = state["ready"], state["round"]
        self._refused = state["refused"]

    def report(self) -> ActorReport:
        return ActorReport(dict(sorted(self.events.items())), [], [], [])
