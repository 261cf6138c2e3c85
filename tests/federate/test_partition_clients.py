"""Who owns which data: classes of one's own, shared ones divided, users, and what is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from understudy.errors import ConfigError
from understudy.federate.by_class import ClassPartitioner, dirichlet_counts
from understudy.federate.division import Partition
from understudy.federate.partition import Partitioner
from understudy.federate.samples import SampleSet

CLASSES, EACH = 20, 50


def set_of(**extra: object) -> SampleSet:
    label = torch.arange(CLASSES).repeat(EACH)
    raw = torch.arange(float(len(label)))[:, None, None, None].expand(-1, 1, 2, 2) / len(label)
    names = tuple(f"class {number}" for number in range(CLASSES))
    return SampleSet(raw, label, names, **extra)  # type: ignore[arg-type]


DATA = set_of()
SMALL = Partition(clients=3, tasks=2, classes_per_task=4, private=3, shared=5)


def places_of(partition: Partition, seed: int = 0, data: SampleSet = DATA) -> list[list[set[int]]]:
    """By client and task: training and test places."""
    parts = ClassPartitioner(data, partition, seed)
    return [
        [
            side
            for task in parts.places(client)
            for side in (set(task.train.tolist()), set(task.test.tolist()))
        ]
        for client in range(partition.clients)
    ]


def test_private_classes_are_one_clients_and_shared_ones_everyones() -> None:
    parts = ClassPartitioner(DATA, SMALL, seed=0)
    held = Counter(name for client in range(3) for name in parts.classes(client))
    assert sorted(held.values()) == [1] * 9 + [3] * 5
    for client in range(3):
        tasks = parts.places(client)
        assert [len(task.classes) for task in tasks] == [4, 4]
        assert {name for task in tasks for name in task.classes} == set(parts.classes(client))
        for task in tasks:
            for places in (task.train, task.test):
                assert set(DATA.label[places].tolist()) == set(task.classes)


def test_a_shared_class_is_divided_and_nothing_is_trained_and_tested() -> None:
    parts = ClassPartitioner(DATA, SMALL, seed=1)
    tasks = [task for client in range(3) for task in parts.places(client)]
    trained = [place for task in tasks for place in task.train.tolist()]
    assert len(trained) == len(set(trained))  # no sample is two clients'
    assert not set(trained) & {place for task in tasks for place in task.test.tolist()}
    assert len(trained) == 14 * 40  # four fifths of the 14 classes that somebody has
    for name in set(parts.classes(0)) & set(parts.classes(1)):
        tests = [
            set(task.test[DATA.label[task.test] == name].tolist())
            for task in tasks
            if name in task.classes
        ]
        assert len(tests) == 3
        assert tests[0] == tests[1] == tests[2]
        assert len(tests[0]) == 10


def test_the_seed_decides_all() -> None:
    assert places_of(SMALL, 3) == places_of(SMALL, 3)
    assert places_of(SMALL, 3) != places_of(SMALL, 4)


@pytest.mark.parametrize(("concentration", "low", "high"), [(0.05, 0.75, 1), (1000, 0.3, 0.4)])
def test_a_small_concentration_gives_most_of_a_class_to_few(
    concentration: float, low: float, high: float
) -> None:
    partition = replace(SMALL, private=0, shared=20, concentration=concentration)
    parts = ClassPartitioner(DATA, partition, seed=0)
    greatest = []
    for name in range(CLASSES):
        counts = [len(parts._own(name, client)) for client in range(3)]
        assert sum(counts) == 40
        assert min(counts) >= partition.at_least
        greatest.append(max(counts) / 40)
    assert low <= np.mean(greatest) <= high


def test_counts_by_hand() -> None:
    shares = np.array([0.5, 0.25, 0.25])
    assert dirichlet_counts(shares, 13, least=1).tolist() == [6, 4, 3]  # 1 + (5, 2.5, 2.5)
    assert dirichlet_counts(np.array([1.0, 0.0]), 4, least=2).tolist() == [2, 2]


def test_some_of_the_shared_classes() -> None:
    partition = replace(SMALL, clients=10, private=0, shared=20, held_shared=8)
    parts = ClassPartitioner(DATA, partition, seed=0)
    held = [parts.classes(client) for client in range(10)]
    assert {len(set(classes)) for classes in held} == {8}
    assert set(Counter(name for classes in held for name in classes).values()) == {4}


def test_samples_of_a_class_can_be_limited() -> None:
    partition = replace(SMALL, train_per_class=7, test_per_class=3, at_least=7, clients=2)
    for client in range(2):
        for task in ClassPartitioner(DATA, partition, seed=0).places(client):
            assert Counter(DATA.label[task.train].tolist()) == dict.fromkeys(task.classes, 7)
            assert Counter(DATA.label[task.test].tolist()) == dict.fromkeys(task.classes, 3)


def test_all_can_meet_the_classes_in_one_order() -> None:
    partition = Partition(
        clients=3, tasks=4, classes_per_task=5, private=0, shared=20, same_order=True
    )
    parts = ClassPartitioner(DATA, partition, seed=0)
    orders = {tuple(task.classes for task in parts.places(client)) for client in range(3)}
    assert len(orders) == 1


def test_samples_that_the_set_holds_out_are_tested_with() -> None:
    held = torch.arange(CLASSES * EACH) >= 900
    for client in places_of(SMALL, 0, set_of(held=held)):
        assert all(max(train) < 900 for train in client[::2])
        assert all(min(test) >= 900 for test in client[1::2])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"private": 6}, "need 23 classes, but the data have 20"),
        ({"tasks": 3}, "need 12 classes, but a client has 8"),
        ({"held_shared": 6}, "held_shared=6 of shared=5"),
        ({"clients": 4, "private": 0, "shared": 20, "at_least": 11}, "each needs 11"),
    ],
)
def test_what_the_data_cannot_give_is_refused(change: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ClassPartitioner(DATA, replace(SMALL, **change), seed=0)


def users(counts: list[int], classes: int = 2) -> SampleSet:
    owner = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    label = torch.arange(len(owner)) % classes
    texts = tuple(f"text {number}" for number in range(len(owner)))
    names = tuple(f"user {number}" for number in range(len(counts)))
    classes_ = tuple(str(number) for number in range(classes))
    return SampleSet(texts, label, classes_, None, owner, names)


def test_a_user_is_a_client_and_time_makes_its_tasks() -> None:
    data = users([10, 2, 20, 15])
    partition = Partition(clients=3, tasks=3, classes_per_task=2, test=0.2)
    parts = Partitioner(data, partition, seed=0)
    assert [parts.name(client) for client in range(3)] == ["user 0", "user 2", "user 3"]
    for client, (first, count) in enumerate([(0, 10), (12, 20), (32, 15)]):
        tasks = parts.tasks(client)
        assert [task.classes for task in tasks] == [(0, 1)] * 3
        trained = [text for task in tasks for text in task.train.raw]
        tested = [text for task in tasks for text in task.test.raw]
        numbers = [int(text.split()[1]) for text in trained]
        assert numbers == sorted(numbers)  # as they come
        assert sorted([*trained, *tested]) == sorted(
            f"text {number}" for number in range(first, first + count)
        )
        assert len(tested) == round(0.2 * count)


def test_a_users_classes_make_tasks_where_there_are_many() -> None:
    data = users([40, 40, 3], classes=8)
    partition = Partition(clients=2, tasks=2, classes_per_task=3, test=0.25)
    for client in range(2):
        tasks = Partitioner(data, partition, seed=0).tasks(client)
        classes = [name for task in tasks for name in task.classes]
        assert len(set(classes)) == 6
        for task in tasks:
            assert set(task.train.label.tolist()) == set(task.classes)
            assert set(task.test.label.tolist()) <= set(task.classes)


def test_too_few_users_are_refused() -> None:
    partition = Partition(clients=3, tasks=3, classes_per_task=2)
    with pytest.raises(ConfigError, match="2 of 3 users have 3 samples to train"):
        Partitioner(users([10, 2, 20]), partition, seed=0)


def test_a_clients_tasks_carry_their_own_samples() -> None:
    task = Partitioner(DATA, SMALL, seed=0).tasks(1)[1]
    assert task.number == 1
    assert len(task.train) == len(task.train.raw) == len(task.train.label)
    assert set(task.train.label.tolist()) == set(task.classes)
