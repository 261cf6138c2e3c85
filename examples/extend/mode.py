"""A mode of sharing of your own: agents send the mean of each class, and learn those of others.

understudy share --set 'modes=[{kind: examples/extend/mode.py:Prototypes, every: 10}]'
"""

from __future__ import annotations

import torch
from pydantic import Field

from understudy.link.carrier import Message, Parcel
from understudy.share.agent import Agent, Mode
from understudy.share.modes import ModeSettings
from understudy.share.tick import Tick


class Settings(ModeSettings):
    room: int = Field(8, ge=1, description="means kept for each task")


class Prototypes(Mode):
    Settings = Settings
    kind = "prototypes"
    setting: Settings

    def begin(self, agent: Agent, tick: Tick) -> list[Message]:
        held = agent.held()
        if not held.x.is_floating_point():
            return []
        classes = held.label.unique()
        means = torch.stack([held.x[held.label == name].mean(dim=0) for name in classes])
        parcel = Parcel({"x": means, "label": classes}, means.numel())
        return agent.to_neighbours(self.kind, parcel, tick)

    def receive(self, agent: Agent, message: Message, tick: Tick) -> list[Message]:
        arrays = message.parcels[0].arrays
        if agent.accepts(message, arrays.values(), agent.holds_instances(arrays)):
            agent.receive(arrays["x"], arrays["label"], self.setting.room)
        return []  # nothing is answered
