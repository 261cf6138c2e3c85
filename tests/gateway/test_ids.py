"""Ids of answers: ours, whatever a cloud calls its own, and told with the mark of the dialect."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tests.gateway.gateways import Built, streamed
from tests.gateway.test_way import EASY, HARD, run
from tests.gateway.upstream import Behaviour, MockUpstream
from understudy.gateway.dialects.feedback import feedback_of
from understudy.gateway.dialects.messages import Messages
from understudy.gateway.dialects.responses import Responses
from understudy.gateway.ids import MESSAGE, RESPONSE, marked, new_id, with_id
from understudy.gateway.recording import event_of
from understudy.gateway.requests import Outcome


@pytest.mark.parametrize("question", [EASY, HARD])
@pytest.mark.parametrize("draft", ["held", "reasoning"])
def test_whoever_answers_the_id_that_is_told_is_the_events(
    tmp_path: Path, question: str, draft: str
) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        whole = await built.ask(question)
        assert whole.completion is not None
        first = event_of(await built.settled())
        assert whole.completion["id"] == first.id
        if whole.raw is not None:
            assert orjson.loads(whole.raw)["id"] == first.id
        chunks = await streamed(await built.ask(question, stream=True))
        second = event_of(await built.settled())
        assert {each["id"] for each in chunks} == {second.id}
        assert second.id != first.id
        assert second.id.startswith("chatcmpl-")
        assert len(second.id) == len(new_id())

    run(work, tmp_path, Behaviour(), draft=draft)


@pytest.mark.parametrize(
    ("came", "goes"),
    [
        (b'{"id":"x","choices":[]}', b'{"id":"ours","choices":[]}'),
        (b'{ "id" : "x",\n "a": {"id": "x"}}', b'{ "id" : "ours",\n "a": {"id": "x"}}'),
        (b'{"a":1,"id":"x"}', b'{"a":1,"id":"ours"}'),
        (b'{"id":null}', b'{"id":"ours"}'),
        (b'{"id":"a\\"b"}', b'{"id":"ours"}'),
        (b'{"a":1}', b'{"a":1,"id":"ours"}'),
        (b'{"error":{"message":"no"}}', b'{"error":{"message":"no"}}'),
    ],
)
def test_only_the_id_of_a_payload_changes(came: bytes, goes: bytes) -> None:
    assert with_id(came, "ours") == goes


def test_each_dialect_tells_the_id_with_its_own_mark_and_feedback_finds_it() -> None:
    answer = new_id()
    message = {"role": "assistant", "content": "yes"}
    completion = {"id": answer, "choices": [{"message": message, "finish_reason": "stop"}]}
    outcome = Outcome(None, completion)  # type: ignore[arg-type]
    turns = [{"role": "user", "content": "one"}]
    dialects = {
        MESSAGE: Messages({"messages": turns, "max_tokens": 5, "model": "auto"}, b""),
        RESPONSE: Responses({"input": "one", "model": "auto"}, b""),
    }
    for mark, dialect in dialects.items():
        whole = dialect.whole([outcome])
        assert isinstance(whole, dict)
        assert whole["id"] == marked(answer, mark)
        assert whole["id"].startswith(mark)
        given, _ = feedback_of({"inference_id": whole["id"], "name": "right", "value": 1}, "k")
        assert given.answer == answer
    given, _ = feedback_of({"request_id": "msg_mine", "name": "right", "value": 1}, "k")
    assert given.answer == "msg_mine"  # of the caller's choice
