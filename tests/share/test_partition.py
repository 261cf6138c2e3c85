"""Who owns which data: what each task draws, and what is refused."""

from __future__ import annotations

import pytest
import torch

from understudy.errors import ConfigError
from understudy.share.partition import Partition, Partitioner, Task
from understudy.tasks.instances import Instances, generated_instances

DATA = Instances(torch.arange(500.0)[:, None], torch.arange(500) % 5)
SMALL = Partition(tasks=6, classes_per_task=2, train_per_class=10, validation_per_class=5)


def partitioned(
    data: Instances, partition: Partition, agents: int, seed: int, common: int = 0
) -> list[list[Task]]:
    """Every agent's tasks."""
    partitioner = Partitioner(data, partition, seed, common)
    return [partitioner.tasks(agent, agents) for agent in range(agents)]


def numbers(instances: Instances) -> set[float]:
    return set(instances.x.flatten().tolist())


def everything(sequences: list[list[Task]]) -> list[Task]:
    return [task for sequence in sequences for task in sequence]


def test_a_task_has_its_classes_and_as_many_of_each_as_asked() -> None:
    for task in everything(partitioned(DATA, SMALL, 3, 0)):
        assert len(set(task.classes)) == 2
        for part, count in ((task.train, 10), (task.validation, 5)):
            assert part.label.unique(return_counts=True)[1].tolist() == [count] * 2
            assert set(part.label.tolist()) == set(task.classes)
            assert len(numbers(part)) == len(part)
            assert torch.equal(part.x.flatten() % 5, part.label.float())


def test_nobody_trains_on_what_anybody_is_examined_with() -> None:
    tasks = everything(partitioned(DATA, SMALL, 4, 1))
    trained = set().union(*(numbers(task.train) for task in tasks))
    examined = set().union(*(numbers(task.validation) for task in tasks))
    assert not trained & examined


def test_labels_are_places_in_the_tasks_own_order() -> None:
    task = partitioned(DATA, SMALL, 1, 0)[0][0]
    assert task.local(torch.tensor(task.classes)).tolist() == [0, 1]
    others = sorted(set(range(max(task.classes))) - set(task.classes))
    assert (task.local(torch.tensor(others, dtype=torch.long)) == -1).all()


def test_an_agents_tasks_do_not_depend_on_who_else_is_there() -> None:
    few, many = partitioned(DATA, SMALL, 2, 7), partitioned(DATA, SMALL, 5, 7)
    for one, other in zip(everything(few), everything(many[:2]), strict=True):
        assert one.classes == other.classes
        assert torch.equal(one.train.x, other.train.x)
    assert [t.classes for t in few[0]] != [t.classes for t in few[1]]


def test_disjoint_tasks_share_no_class() -> None:
    partition = Partition(2, 2, 10, 5, disjoint=True)
    for sequence in partitioned(DATA, partition, 4, 0):
        assert len({name for task in sequence for name in task.classes}) == 4


@pytest.mark.parametrize("disjoint", [False, True])
def test_the_first_tasks_can_be_common_to_all(disjoint: bool) -> None:
    data = generated_instances(classes=20, per_class=40)
    partition = Partition(5, 2, 10, 5, disjoint=disjoint)
    alone, common = partitioned(data, partition, 3, 0), partitioned(data, partition, 3, 0, common=3)
    base = partitioned(data, partition, 4, 0)[-1]
    for sequence, own in zip(common, alone, strict=True):
        assert [task.number for task in sequence] == [0, 1, 2, 3, 4]
        for task, known in zip(sequence[:3], base, strict=False):
            assert task.classes == known.classes
            assert torch.equal(task.train.x, known.train.x)
        if disjoint:
            assert len({name for task in sequence for name in task.classes}) == 10
        else:  # an agent's own are those it would have anyway
            assert [t.classes for t in sequence[3:]] == [t.classes for t in own[3:]]
    assert len({task.classes for sequence in common for task in sequence[3:]}) > 2


@pytest.mark.parametrize(
    ("partition", "word"),
    [
        (Partition(3, 2, 10, 5, disjoint=True), "need 6 classes.*disjoint=false"),
        (Partition(3, 6, 10, 5), "need 6 classes"),
        (Partition(3, 2, 81, 5), "train_per_class=81.*use 80"),
        (Partition(3, 2, 10, 21), "validation_per_class=21.*use 20"),
    ],
)
def test_what_the_data_cannot_give_is_refused(partition: Partition, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        partitioned(DATA, partition, 2, 0)
