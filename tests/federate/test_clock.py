"""Who does what, when."""

from __future__ import annotations

from tests.federate.tiny import config_of
from understudy.federate.clock import moments_of, participants
from understudy.federate.turn import Turn


def test_a_task_is_rounds_of_training_and_serving_and_then_an_examination() -> None:
    rows = [moment[0] for moment in moments_of(config_of(tasks=1, rounds=2))]
    acts = [next(turn.act for turn in row if turn) for row in rows]
    assert acts == ["begin", "train", "serve", "train", "serve", "examine"]
    assert rows[0] == [None, *[Turn("begin", 0, 0)] * 3]
    assert rows[1] == [None, *[Turn("train", 0, 0)] * 3]
    assert rows[4] == [Turn("serve", 0, 1, (1, 2, 3)), None, None, None]
    assert rows[5][1] == Turn("examine", 0, 1, last=True)


def test_some_take_part_and_the_server_answers_those_that_are_next() -> None:
    config = config_of(clients=10, partition={"private": 0, "shared": 4}, participation=0.25)
    rows = [moment[0] for moment in moments_of(config)]
    trained = [[n for n, turn in enumerate(row) if turn and turn.act == "train"] for row in rows]
    taking = [clients for clients in trained if clients]
    assert {len(clients) for clients in taking} == {3}
    assert len({tuple(clients) for clients in taking}) > 1
    assert taking == [list(participants(config, 0, n)) for n in range(4)]
    assert rows[2][0] is not None
    assert rows[2][0].to == tuple(taking[1])
    assert participants(config, 1, 0) != participants(config, 0, 0)


def test_every_round_is_examined_where_that_is_asked_for() -> None:
    rows = [moment[0] for moment in moments_of(config_of(examine_rounds=True))]
    turns = [row[1] for row in rows if row[1] is not None and row[1].act == "examine"]
    assert [(turn.task, turn.round, turn.last) for turn in turns] == [
        *((0, 0, False), (0, 1, True), (1, 2, False), (1, 3, True)),
    ]
