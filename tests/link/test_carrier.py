"""What is sent arrives, waits, is trimmed or is lost, and is charged to its edge."""

from __future__ import annotations

import pytest
import torch

from understudy.link.carrier import Carrier, Fate, Inbox, Message, Parcel
from understudy.link.graph import Edge, Graph, make_graph


def message(
    kind: str = "parameters",
    *,
    sizes: tuple[int, ...] = (10,),
    round_: int = 0,
    trims: bool = False,
) -> Message:
    parcels = tuple(
        Parcel({"x": torch.full((size,), float(i))}, size) for i, size in enumerate(sizes)
    )
    return Message(0, 1, kind, parcels, round_, trims)


def pair_of(**edge: float) -> Carrier:
    return Carrier(Graph(2, {(0, 1): Edge(**edge)}))  # type: ignore[arg-type]


def fates(inbox: Inbox) -> list[Fate]:
    return [outcome.fate for outcome in inbox.outcomes]


def arrivals(carrier: Carrier, sent: Message, rounds: int) -> list[int]:
    """The rounds in which a message sent in round 0 is found in the inbox."""
    found = []
    for round_ in range(rounds):
        carrier.carry(round_, [sent] if round_ == 0 else [])
        found += [round_ + 1] * len(carrier.deliver(round_ + 1)[1].messages)
    return found


def test_a_message_is_there_in_the_next_round_and_charged_once() -> None:
    carrier, sent = pair_of(), message(sizes=(3, 4))
    carrier.carry(0, [sent])
    now = carrier.deliver(0)
    assert now[1].messages == ()
    assert fates(now[0]) == ["arrives"]
    assert carrier.deliver(1)[1].messages == (sent,)
    traffic = carrier.traffic[0, 1]
    assert (traffic.floats, traffic.bytes) == ({"parameters": 7}, {"parameters": 28})
    assert carrier.under_way().total() == 0


def test_a_large_message_crosses_in_pieces_that_add_up() -> None:
    carrier = pair_of(bandwidth=4)
    assert arrivals(carrier, message(sizes=(10,)), 6) == [3]
    assert carrier.totals().floats == {"parameters": 10}
    assert carrier.totals().bytes == {"parameters": 40}
    assert carrier.totals().fates == {"waits": 2, "arrives": 1}


def test_no_round_carries_more_than_the_bandwidth() -> None:
    carrier, before = pair_of(bandwidth=7), 0
    for round_ in range(12):
        carrier.carry(round_, [message(kind=f"{round_}", sizes=(5,), round_=round_)] * (round_ < 6))
        now = sum(carrier.totals().floats.values())
        assert now - before <= 7
        before = now
    assert before == 30  # and nothing was lost


def test_what_may_be_trimmed_is_cut_to_its_first_parcels() -> None:
    carrier, sent = pair_of(bandwidth=9), message("data", sizes=(4, 4, 4), trims=True)
    carrier.carry(0, [sent])
    inboxes = carrier.deliver(1)
    assert inboxes[1].messages[0].parcels == sent.parcels[:2]
    assert fates(inboxes[0]) == ["trimmed", "arrives"]
    assert carrier.totals().floats == {"data": 8}


def test_a_parcel_waits_for_a_round_with_room_for_it() -> None:
    carrier = pair_of(bandwidth=9)
    carrier.carry(
        0, [message("parameters", sizes=(6,)), message("data", sizes=(4, 4, 4), trims=True)]
    )
    assert carrier.totals().floats == {"parameters": 6}
    carrier.carry(1, [])
    assert carrier.totals().floats == {"parameters": 6, "data": 8}
    assert carrier.totals().fates == {"arrives": 2, "waits": 1, "trimmed": 1}


def test_what_has_begun_to_cross_is_not_trimmed() -> None:
    carrier, sent = pair_of(bandwidth=3), message("data", sizes=(7, 7), trims=True)
    assert arrivals(carrier, sent, 8) == [5]
    assert carrier.totals().floats == {"data": 14}


def test_a_parcel_that_never_fits_waits_and_crosses_in_pieces() -> None:
    carrier = pair_of(bandwidth=3)
    assert arrivals(carrier, message("data", sizes=(7,), trims=True), 5) == [3]


def test_a_newer_message_takes_the_place_of_one_that_has_not_begun() -> None:
    carrier = pair_of(every=3)
    first, second, other = message(round_=1), message(round_=2), message("query", round_=1)
    carrier.carry(1, [first, other])
    carrier.carry(2, [second])
    assert fates(carrier.deliver(2)[0]) == ["superseded"]
    carrier.carry(3, [])
    assert carrier.deliver(4)[1].messages == (other, second)


def test_a_message_half_across_is_not_superseded() -> None:
    carrier = pair_of(bandwidth=6)
    first, second = message(round_=0), message(round_=1)
    carrier.carry(0, [first])
    carrier.carry(1, [second])
    carrier.carry(2, [])
    carrier.carry(3, [])
    assert [m.round for m in carrier.deliver(4)[1].messages] == [0, 1]


@pytest.mark.parametrize(("edge", "found"), [({"latency": 2}, [3]), ({"every": 2}, [1])])
def test_latency_and_frequency(edge: dict[str, float], found: list[int]) -> None:
    assert arrivals(pair_of(**edge), message(), 6) == found


def test_a_closed_edge_holds_back() -> None:
    carrier = pair_of(every=4)
    carrier.carry(1, [message(round_=1)])
    assert carrier.under_way().total() == 1
    assert carrier.totals().floats == {}
    carrier.carry(4, [])
    assert len(carrier.deliver(5)[1].messages) == 1


def test_a_lost_message_is_charged_and_counted_and_its_sender_not_told() -> None:
    carrier = pair_of(loss=1.0)
    carrier.carry(0, [message()])
    inboxes = carrier.deliver(9)
    assert inboxes[1].messages == ()
    assert inboxes[0].outcomes == ()
    assert carrier.totals().fates == {"lost": 1}
    assert carrier.totals().floats == {"parameters": 10}


def test_the_share_lost_is_that_of_the_edge_and_repeats_with_its_seed() -> None:
    def lost(seed: int) -> list[bool]:
        carrier = Carrier(Graph(2, {(0, 1): Edge(loss=0.3)}), seed)
        heard = []
        for round_ in range(400):
            carrier.carry(round_, [message(round_=round_)])
            heard.append(not carrier.deliver(round_ + 1)[1].messages)
        return heard

    assert abs(sum(lost(0)) / 400 - 0.3) < 0.08  # three and a half deviations
    assert lost(0) == lost(0) != lost(1)


def test_where_no_edge_is_nothing_crosses() -> None:
    carrier = Carrier(make_graph("star", 3))
    carrier.carry(0, [Message(1, 2, "data", (), 0)])
    inboxes = carrier.deliver(1)
    assert fates(inboxes[1]) == ["no edge"]
    assert inboxes[2].messages == ()


def test_messages_come_in_the_order_of_their_senders() -> None:
    carrier = Carrier(make_graph("full", 4))
    carrier.carry(0, [Message(sender, 0, "query", (), 0) for sender in (3, 1, 2)])
    assert [m.sender for m in carrier.deliver(1)[0].messages] == [1, 2, 3]


def test_two_answers_of_one_round_both_cross() -> None:
    carrier = pair_of()
    carrier.carry(0, [message("data", round_=1), message("data", round_=2)])
    assert [one.round for one in carrier.deliver(1)[1].messages] == [1, 2]
    assert carrier.totals().fates == {"arrives": 2}


def test_messages_that_bear_one_round_have_each_a_luck_of_their_own() -> None:
    carrier = pair_of(loss=0.5)
    for round_ in range(40):
        carrier.carry(round_, [message("data", round_=7)])
    assert 5 < carrier.totals().fates["lost"] < 35


def test_what_has_not_arrived_is_under_way() -> None:
    carrier = pair_of(latency=9)
    carrier.carry(0, [message()])
    assert carrier.under_way() == {(0, 1): 1}
    carrier.carry(1, [Message(1, 0, "data", message().parcels, 1)])
    assert carrier.astray == 1


def test_a_carrier_goes_on_from_its_state() -> None:
    def sent(carrier: Carrier, rounds: range) -> list[int]:
        found = []
        for round_ in rounds:
            carrier.carry(round_, [message(sizes=(6, 5), round_=round_)])
            found += [each.round for each in carrier.deliver(round_ + 1)[1].messages]
        return found

    whole, first, second = (pair_of(bandwidth=7, latency=1, loss=0.3) for _ in range(3))
    found = sent(whole, range(12))
    begun = sent(first, range(5))
    second.restore(first.state())
    assert begun + sent(second, range(5, 12)) == found
    assert second.totals() == whole.totals()
