"""The learners of arXiv:2405.17466 as one would write them first: a torch module and an optimiser
for each agent, and a loop over agents, epochs and minibatches. What bench/share.py measures
understudy against."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.share.agent import Agent
from understudy.share.learner import INITIAL_TASKS
from understudy.share.training import BATCH, LEARNING_RATE, Examples

WIDTH, LAYERS, DROPOUT = 64, 4, 0.5


class PlainNet(nn.Module):
    """Layers in order, or every layer a mixture of all modules."""

    def __init__(self, tasks: int, classes: int, modular: bool) -> None:
        super().__init__()
        self.modular = modular
        self.modules_ = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))
        self.decoders = nn.ModuleList(nn.Linear(WIDTH, classes) for _ in range(tasks))
        chosen = torch.stack([torch.randperm(INITIAL_TASKS) for _ in range(LAYERS)], dim=1)
        first = F.one_hot(chosen, LAYERS).transpose(1, 2).float().log()  # (tasks, modules, layers)
        self.structures = nn.ParameterList(
            [nn.Parameter(first[task], requires_grad=False) for task in range(INITIAL_TASKS)]
            + [nn.Parameter(torch.zeros(LAYERS, LAYERS)) for _ in range(tasks - INITIAL_TASKS)]
        )

    def forward(self, h: Tensor, task: int, hide_last: bool = False) -> Tensor:
        if not self.modular:
            for module in self.modules_:
                h = F.dropout(module(h).relu(), DROPOUT, self.training)
            return self.decoders[task](h)
        used = list(self.modules_)[:-1] if hide_last else list(self.modules_)
        structure = self.structures[task]
        count = min(len(used), len(structure))
        shares = structure[:count].softmax(dim=0)
        for layer in range(LAYERS):
            outputs = [F.dropout(f(h).relu(), DROPOUT, self.training) for f in used[:count]]
            h = sum(share * y for share, y in zip(shares[:, layer], outputs, strict=True))
        return self.decoders[task](h)

    def add_module_for(self, task: int) -> None:
        self.modules_.append(nn.Linear(WIDTH, WIDTH))
        self.structures[task] = nn.Parameter(torch.zeros(len(self.modules_), LAYERS))


def run_plain(agents: list[Agent], epochs: int) -> list[PlainNet]:
    """All agents, one after the other, through all their tasks; nothing is shared."""
    nets = []
    for agent in agents:
        shape, jointly = agent.shape, agent.config.tasks_jointly
        net = PlainNet(shape.tasks, shape.classes, shape.modular)
        data = [agent._examples(task, task.train) for task in agent.tasks]
        kept = [_some(each, agent.config.replay) for each in data]
        for task in range(shape.tasks):
            learnt = [*net.modules_.parameters(), *net.decoders.parameters()]
            if task < jointly:
                if task == jointly - 1:
                    _train(net, data[:jointly], epochs, learnt)
                continue
            past = kept[:task]
            if not shape.modular:
                _train(net, [data[task], *past], epochs, learnt)
            else:
                net.add_module_for(task)
                _assimilate(net, data[task], epochs - 1)
                _train(net, [data[task], *past], 1, list(net.modules_.parameters()))
        nets.append(net)
    return nets


def _train(net: PlainNet, parts: list[Examples], epochs: int, learnt: list[nn.Parameter]) -> None:
    optimiser = torch.optim.Adam(learnt, lr=LEARNING_RATE)
    x, label, task = (torch.cat([getattr(p, n) for p in parts]) for n in ("x", "label", "task"))
    net.train()
    for _ in range(epochs):
        for places in torch.randperm(len(x)).split(BATCH):
            loss = torch.zeros(())
            for number in task[places].unique().tolist():
                own = places[task[places] == number]
                logits = net(x[own], number)
                loss = loss + F.cross_entropy(logits, label[own], reduction="sum") / len(places)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def _assimilate(net: PlainNet, data: Examples, epochs: int) -> None:
    """With the new module and without it, in turn; the others stay as they are."""
    number = int(data.task[0])
    for module in list(net.modules_)[:-1]:
        module.requires_grad_(False)
    common = [net.structures[number], *net.decoders[number].parameters()]
    optimiser = torch.optim.Adam([*common, *net.modules_[-1].parameters()], lr=LEARNING_RATE)
    net.train()
    for _ in range(epochs):
        for places in torch.randperm(len(data)).split(BATCH):
            for hide_last in (False, True):
                logits = net(data.x[places], number, hide_last)
                loss = F.cross_entropy(logits, data.label[places])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    for module in net.modules_:
        module.requires_grad_(True)


def _some(examples: Examples, count: int) -> Examples:
    chosen = torch.randperm(len(examples))[:count]
    return Examples(examples.x[chosen], examples.label[chosen], examples.task[chosen])


@torch.no_grad()
def accuracy_of(net: PlainNet, agent: Agent) -> float:
    net.eval()
    found = []
    for task in agent.tasks:
        examples = agent.examined[task.number]
        right = net(examples.x, task.number).argmax(dim=1) == examples.label
        found.append(float(right.float().mean()))
    return sum(found) / len(found)
