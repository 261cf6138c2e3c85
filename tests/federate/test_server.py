"""What the server takes and what it refuses, each with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.federate.tiny import config_of, foundation
from understudy.actors.jobs import run_steps
from understudy.federate.crossing import ABOUT, About, message
from understudy.federate.entries import Refusal
from understudy.federate.methods.fed_lscl import FEATURES, GENERATOR, FedLscl, first_generator
from understudy.federate.methods.method import Common
from understudy.federate.server import Server
from understudy.federate.servers import SERVERS
from understudy.federate.turn import Turn
from understudy.link.carrier import Inbox, Message

TO = (1, 2, 3)


def server_of(**settings: Any) -> Server:
    config = config_of(**{"server": {"kind": "average"}} | settings)
    common = Common(config, foundation(), 10, 0)
    serving = config.serving
    return Server(FedLscl, SERVERS.load(serving.kind)(serving, FedLscl, common), common)


def weights(server: Server, value: float) -> dict[str, Tensor]:
    network = first_generator(server.aggregation.common)
    return {name: torch.full_like(each, value) for name, each in network.state_dict().items()}


def upload(
    server: Server, client: int, value: float = 0.0, round_: int = 0, samples: int = 10
) -> list[Message]:
    about, features = About(client, round_, samples), torch.zeros(2, 8)
    return [
        message(client, 0, GENERATOR, weights(server, value), about),
        message(client, 0, FEATURES, {FEATURES: features}, about),
    ]


def served(server: Server, messages: Sequence[Message], round_: int = 0) -> list[Message]:
    inbox = Inbox(tuple(messages))
    (outbox,) = run_steps([server.step(Turn("serve", 0, round_, TO), inbox)])
    return outbox


def changed(given: Message, **arrays: Tensor) -> Message:
    (parcel,) = given.parcels
    return replace(given, parcels=(replace(parcel, arrays={**parcel.arrays, **arrays}),))


def test_a_mean_by_samples_goes_to_all_clients() -> None:
    server = server_of()
    sent = [*upload(server, 1, 1.0, samples=30), *upload(server, 2, 5.0, samples=10)]
    outbox = served(server, sent)
    assert [(each.receiver, each.kind) for each in outbox] == [(n, GENERATOR) for n in TO]
    for each in outbox:
        assert all(
            bool((array == 2.0).all())
            for name, array in each.parcels[0].arrays.items()
            if name != ABOUT
        )
    assert server.log[0].accepted == [1, 2]
    assert server.log[0].refused == []


NAN = torch.full((16, 8), torch.nan)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda one: changed(one, **{"norm.weight": torch.full((8,), torch.nan)}), "not finite"),
        (lambda one: changed(one, **{"norm.weight": torch.zeros(9)}), "wrong shapes"),
        (lambda one: changed(one, **{"norm.weight": torch.full((8,), 1e5)}), "absurd norm"),
        (
            lambda one: changed(one, **{"norm.weight": torch.ones(8).long()}),
            "wrong kind of numbers",
        ),
        (lambda one: changed(one, more=torch.zeros(1)), "other arrays"),
        (lambda one: changed(one, about=torch.tensor([2, 0, 10])), "another client's id"),
        (lambda one: changed(one, about=torch.tensor([1, 4, 10])), "a round that is not yet"),
        (lambda one: changed(one, about=torch.tensor([1, 0, -1])), "a negative count of samples"),
        (lambda one: changed(one, about=torch.zeros(3)), "says not what it is about"),
        (lambda one: replace(one, kind="small"), "unknown kind"),
        (lambda one: replace(one, parcels=()), "unknown kind"),
    ],
)
def test_what_is_unsound_is_refused_with_a_reason_and_the_others_go_on(
    spoil: Any, reason: str
) -> None:
    server = server_of()
    bad, features = upload(server, 1, 9.0)
    outbox = served(server, [spoil(bad), features, *upload(server, 2, 5.0)])
    assert Refusal(1, spoil(bad).kind, reason) in server.log[0].refused
    assert Refusal(1, FEATURES, "incomplete") in server.log[0].refused
    assert server.log[0].accepted == [2]
    assert bool((outbox[0].parcels[0].arrays["norm.weight"] == 5.0).all())
    assert server.report().events[f"{spoil(bad).kind}: {reason}"] == 1


def test_a_replayed_round_is_refused() -> None:
    server = server_of()
    served(server, upload(server, 1, 1.0))
    replayed = upload(server, 1, 1.0)
    served(server, [*replayed, *upload(server, 2, 3.0, round_=1)], round_=1)
    assert [each.reason for each in server.log[1].refused] == ["replayed round"] * 2
    assert server.log[1].accepted == [2]
    served(server, [*upload(server, 1, 2.0, 2), *upload(server, 1, 2.0, 2)], round_=2)
    assert [each.reason for each in server.log[2].refused] == ["sent twice"] * 2


def test_what_is_too_old_is_refused_where_that_is_asked_for() -> None:
    server = server_of(trust={"max_age": 1})
    served(server, [*upload(server, 1, round_=2), *upload(server, 2, round_=1)], round_=3)
    assert server.log[0].accepted == [1]
    assert {each.reason for each in server.log[0].refused} == {"too old"}


def test_one_liar_of_ten_cannot_move_a_robust_mean_far() -> None:
    for rule, moved in (("mean", True), ("median", False), ("trimmed_mean", False)):
        server = server_of(
            clients=10,
            partition={"private": 0, "shared": 4},
            server={"kind": "average", "rule": rule},
        )
        sent = [each for n in range(1, 10) for each in upload(server, n, n / 10)]
        outbox = served(server, [*sent, *upload(server, 10, 900.0)])
        found = outbox[0].parcels[0].arrays["norm.weight"]
        assert bool((found > 1).all()) == moved


def test_an_answer_waits_until_its_client_takes_part_again() -> None:
    server = server_of()
    inbox = Inbox(tuple(upload(server, 1, 4.0)))
    (first,) = run_steps([server.step(Turn("serve", 0, 0, (2,)), inbox)])
    assert [each.receiver for each in first] == [2]
    kept = server.state()
    other = server_of()
    other.restore(kept)
    outbox = served(other, [], round_=1)
    assert [each.receiver for each in outbox] == [1, 3]
    assert bool((outbox[0].parcels[0].arrays["norm.weight"] == 4.0).all())
