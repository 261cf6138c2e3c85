"""Which client has which samples, in which tasks."""

from __future__ import annotations

from understudy.federate.by_class import ClassPartitioner
from understudy.federate.by_user import UserPartitioner
from understudy.federate.client_tasks import ClientTask, Samples
from understudy.federate.division import Partition
from understudy.federate.samples import SampleSet


class Partitioner:
    """Gives every client its sequence of tasks: by users where samples are somebody's, else by
    classes."""

    def __init__(self, data: SampleSet, partition: Partition, seed: int) -> None:
        self.data, self.partition, self.seed = data, partition, seed
        self._parts: ClassPartitioner | UserPartitioner = (
            ClassPartitioner(data, partition, seed)
            if data.user is None
            else UserPartitioner(data, partition, seed)
        )

    def tasks(self, client: int) -> list[ClientTask]:
        data = self.data
        return [
            ClientTask(
                each.number,
                each.classes,
                Samples(data.of(each.train), data.label[each.train]),
                Samples(data.of(each.test), data.label[each.test]),
            )
            for each in self._parts.places(client)
        ]

    def name(self, client: int) -> str:
        """Of a client: the user's, where it is one."""
        if isinstance(self._parts, UserPartitioner):
            return self.data.users[self._parts.users[client]]
        return f"client {client}"
