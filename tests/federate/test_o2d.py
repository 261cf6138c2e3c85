"""One-by-one distillation of all students at once, against a plain loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.federate.tiny import config_of, foundation
from understudy.actors.generators import generator_of
from understudy.federate.generator import Generator
from understudy.federate.losses import matrix_distance
from understudy.federate.methods.fed_lscl import FEATURES, GENERATOR, FedLscl, first_generator
from understudy.federate.methods.method import Common
from understudy.federate.servers.aggregation import Upload
from understudy.federate.servers.distillation import _ROWS, Distil, distilled
from understudy.federate.servers.o2d import OneByOne

CLIENTS = 3


def common_of(generator: str = "bottleneck", **server: Any) -> Common:
    settings = {"kind": "o2d", "steps": 4, "batch": 5, "learning_rate": 0.01} | server
    made = {"kind": generator, "hidden": 4}
    method = {"blocks": [1, 2], "rank": 2, "buffer": 4, "generator": made}
    return Common(config_of(server=settings, method=method), foundation(), 10, 3)


def generators(common: Common, clients: int = CLIENTS) -> list[Generator]:
    """As different as after training."""
    made = []
    for number in range(clients):
        network = first_generator(common)
        torch.manual_seed(number)
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
        made.append(network)
    return made


def weights_of(network: Generator) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in network.state_dict().items()}


def features_of(common: Common, count: int = 9, clients: int = CLIENTS) -> list[Tensor]:
    torch.manual_seed(9)
    return [torch.randn(count, common.config.feature_width) for _ in range(clients)]


def one_by_one(
    common: Common, student: int, features: list[Tensor], own: float = 0.0
) -> dict[str, Tensor]:
    """The algorithm as it is written: one student, one teacher after the other, in float64."""
    settings: Any = common.config.serving
    clients = len(features)
    teachers = [network.double() for network in generators(common, clients)]
    network = generators(common, clients)[student].double()
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    for step in range(settings.steps):
        random = generator_of(common.seed, _ROWS, 6, step)
        random.permutation(clients)
        drawn = [
            features[t][torch.from_numpy(random.choice(len(features[t]), settings.batch, False))]
            for t in range(clients)
        ]
        loss = torch.zeros((), dtype=torch.float64)
        for number, teacher in enumerate(teachers):
            with torch.no_grad():
                wanted = teacher(drawn[number])
            weight = own if number == student else 1.0
            loss = loss + weight * matrix_distance(network(drawn[number]), wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return weights_of(network)


@pytest.mark.parametrize(
    ("own", "generator", "clients"),
    [(0.0, "bottleneck", 3), (2.0, "bottleneck", 3), (0.0, "trunk", 3), (0.0, "bottleneck", 18)],
)
def test_all_at_once_gives_what_a_loop_over_students_gives(
    own: float, generator: str, clients: int
) -> None:
    common = common_of(generator, own=own, teachers=None)
    features = [each.double() for each in features_of(common, clients=clients)]
    sent = [weights_of(network.double()) for network in generators(common, clients)]
    found = distilled(Distil(common, common.config.serving, sent, features, 6))
    for student in range(0, clients, 2):
        for name, weight in one_by_one(common, student, features, own).items():
            torch.testing.assert_close(found.students[student][name], weight, atol=1e-9, rtol=1e-9)
    assert all(a < b for a, b in zip(found.after, found.before, strict=True))


def test_single_precision_stays_near_the_loop() -> None:
    common = common_of()
    features = features_of(common)
    sent = [weights_of(network) for network in generators(common)]
    found = distilled(Distil(common, common.config.serving, sent, features, 6))
    for name, weight in one_by_one(common, 0, [each.double() for each in features]).items():
        torch.testing.assert_close(found.students[0][name].double(), weight, atol=1e-5, rtol=1e-3)


def uploads(common: Common, features: list[Tensor]) -> dict[int, Upload]:
    return {
        number + 1: Upload(
            6, 10, {GENERATOR: weights_of(network), FEATURES: {FEATURES: features[number]}}
        )
        for number, network in enumerate(generators(common))
    }


def answers_of(server: OneByOne, given: dict[int, Upload]) -> Any:
    steps = server.answers(given)
    try:
        job = next(steps)
        (result,) = type(job).run([job])
        steps.send(result)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("waits twice")


def test_each_client_gets_its_own_generator_back() -> None:
    common = common_of()
    server = OneByOne(common.config.serving, FedLscl, common)
    found = answers_of(server, uploads(common, features_of(common)))
    assert set(found) == {1, 2, 3}
    name = "b.1.weight"
    assert not torch.equal(found[1][GENERATOR][name], found[2][GENERATOR][name])
    assert set(server.figures) == {"distance before", "distance after"}
    assert all(
        server.figures["distance after"][n] < server.figures["distance before"][n] for n in found
    )


def test_without_steps_each_gets_back_what_it_sent() -> None:
    common = common_of(steps=0)
    server = OneByOne(common.config.serving, FedLscl, common)
    given = uploads(common, features_of(common))
    for client, kinds in answers_of(server, given).items():
        for name, weight in kinds[GENERATOR].items():
            assert torch.equal(weight, given[client].kinds[GENERATOR][name])


def test_who_has_no_features_teaches_nobody_and_who_is_alone_learns_nothing() -> None:
    common = common_of()
    features = features_of(common)
    features[1] = features[1][:0]
    given = uploads(common, features)
    server = OneByOne(common.config.serving, FedLscl, common)
    assert set(answers_of(server, given)) == {1, 3}
    assert answers_of(server, {1: given[1]}) == {}


def test_few_teachers_are_drawn_for_a_step() -> None:
    common = common_of(teachers=2)
    sent = [weights_of(network) for network in generators(common)]
    job = Distil(common, common.config.serving, sent, features_of(common, 3), 6)  # fewer than batch
    found = distilled(job)
    again = distilled(job)
    for one, other in zip(found.students, again.students, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
