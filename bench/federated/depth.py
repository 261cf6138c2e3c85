"""Why does it matter which block is steered? One client, one task, each block alone.

    python bench/federated/depth.py --data FOLDER

For each block of the frozen network, over seeds:

    scale      root mean square of what the block's query, key and value layers read, and give
    leverage   how far features move (relative norm) where a random pair of matrices of rank 4
               changes what these layers give by a tenth; mean over samples
    gradient   norm of the loss's gradient to B as training begins (B is zero), of a sample
    learnt     after training: loss, share of test questions that are right, how far features moved,
               by how much the layers' output changed

Before it the head has learnt on the frozen features. With --random the network's weights are
random; --untrained leaves out the last, which takes most of the time.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from understudy.environment import environment
from understudy.federate.client_tasks import Examples, PreparedTask
from understudy.federate.foundations.foundation import Adapter
from understudy.federate.generator import adapters_of
from understudy.federate.lesson import Lesson
from understudy.federate.losses import masked_cross_entropy
from understudy.federate.methods.fed_lscl import FedLscl
from understudy.federate.population import Federation
from understudy.federate.settings import FederateConfig
from understudy.files import write_json
from understudy.settings import check_settings, merged

HERE = Path(__file__).parent
OUT = HERE.parent / "results" / "federated_depth.json"
CHANGE = 0.1  # of what the layers give, at random
HEAD_STEPS, HEAD_RATE = 200, 0.01


def config_of(options: argparse.Namespace, blocks: tuple[int, ...], seed: int) -> FederateConfig:
    given = yaml.safe_load((HERE / "banking77.yaml").read_text(encoding="utf-8"))
    given.pop("variants")
    own: dict[str, Any] = {
        "data": f"{HERE / 'sets.py'}:banking77",
        "data_options": {"folder": str(options.data / "banking77")},
        "foundation": {"random": options.random}
        | ({"name": options.model} if options.model else {}),
        "clients": 1,
        "tasks": 1,
        "classes_per_task": 10,
        "partition": {"private": 10, "shared": 0, "held_shared": None, "test_per_class": 20},
        "method": {"blocks": blocks, "head": "own"},
        "server": "none",
        "cache": False,
        "seeds": [seed],
        "local": {"epochs": options.epochs, "learning_rate": options.rate},
    }
    return check_settings(FederateConfig, merged(given, own))


def measured(options: argparse.Namespace, blocks: tuple[int, ...], seed: int, loaded: Any) -> Any:
    config = config_of(options, blocks, seed)
    client: Any = Federation(config, loaded=loaded).actor(0, 1)
    method: FedLscl = client.method
    task = method.own.tasks[0]
    method.start(task)
    _fit_head(method, task)
    found = {"frozen": _learnt(method, task)}
    found["before"] = _before(method, task, blocks, seed)
    frozen = features(method, task.test, {})
    if options.untrained:
        return found
    lesson = Lesson(0, 0, method.own.seed, config.local)
    found["terms"] = method.train(lesson)
    matrices = method.steering(task.test)[1]
    adapters = adapters_of(matrices, method.settings.alpha)
    moved = features(method, task.test, adapters)
    change = [_layers(method, task.test, block, adapters[block])["change"] for block in blocks]
    after = _learnt(method, task) | {"moved": distance(frozen, moved), "change": max(change)}
    return found | {"after": after}


def _fit_head(method: FedLscl, task: PreparedTask) -> None:
    """The head alone, on the frozen features of all training samples."""
    known = features(method, task.train, {})
    head = method.modules["head"]
    allowed = method.allowed("task", task)
    adam = torch.optim.Adam(head.parameters(), lr=HEAD_RATE)
    for _ in range(HEAD_STEPS):
        loss = masked_cross_entropy(head(known), task.train.label, allowed)
        adam.zero_grad()
        loss.backward()
        adam.step()


def _before(
    method: FedLscl, task: PreparedTask, blocks: tuple[int, ...], seed: int
) -> dict[str, Any]:
    part = task.test.rows(slice(0, 64))
    matrices = method.steering(part)[1]
    held = {block: (a.detach(), b.detach().requires_grad_()) for block, (a, b) in matrices.items()}
    logits = method.modules["head"](
        features(method, part, adapters_of(held, method.settings.alpha))
    )
    loss = masked_cross_entropy(logits, part.label, method.allowed("task", task))
    gradients = torch.autograd.grad(loss, [b for _, b in held.values()])
    norms = [float(each.flatten(1).norm(dim=1).mean()) * len(part) for each in gradients]
    frozen = features(method, part, {})
    adapters = {block: _random_adapter(method, part, block, seed) for block in blocks}
    layers = [_layers(method, part, block, adapters[block]) for block in blocks]
    return {
        "loss": float(loss.detach()),
        "gradient": norms,
        "reads": [each["reads"] for each in layers],
        "gives": [each["gives"] for each in layers],
        "leverage": distance(frozen, features(method, part, adapters)),
    }


def _random_adapter(method: FedLscl, part: Examples, block: int, seed: int) -> Adapter:
    """Of rank 4, for every sample, which changes what the layers give by CHANGE."""
    target, rank = method.common.foundation.target(block), 4
    random = torch.Generator().manual_seed(seed)
    a = torch.randn(len(part), rank, target.inputs, generator=random)
    b = torch.randn(len(part), sum(target.outputs), rank, generator=random)
    change = _layers(method, part, block, Adapter(a, b))["change"]
    return Adapter(a, b, CHANGE / change)


@torch.no_grad()
def features(method: FedLscl, part: Examples, adapters: Mapping[int, Adapter]) -> Tensor:
    with torch.set_grad_enabled(any(each.b.requires_grad for each in adapters.values())):
        found: Tensor = method.common.foundation.features(part.inputs, adapters)
    return found


@torch.no_grad()
def _layers(method: FedLscl, part: Examples, block: int, adapter: Adapter) -> dict[str, float]:
    """Of the adapted layers of a block, over real tokens: root mean squares of what they read and
    give, and of what the adapter adds, as a share of that."""
    foundation: Any = method.common.foundation
    target, seen = foundation.target(block), []
    hooks = [
        foundation.module.get_submodule(name).register_forward_hook(
            lambda _, args, out: seen.append((args[0], out))
        )
        for name in target.layers
    ]
    foundation.features(part.inputs)
    for hook in hooks:
        hook.remove()
    z, given = seen[0][0], torch.cat([out for _, out in seen], dim=2)
    real = part.inputs["attention_mask"][:, : z.shape[1]].bool()
    added = adapter.scale * torch.einsum("ntr,nor->nto", torch.bmm(z, adapter.a.mT), adapter.b)
    gives = _root_mean_square(given[real])
    return {
        "reads": _root_mean_square(z[real]),
        "gives": gives,
        "change": _root_mean_square(added[real]) / gives,
    }


def _root_mean_square(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def distance(before: Tensor, after: Tensor) -> float:
    """The mean over samples of |after - before| / |before|."""
    return float(((after - before).norm(dim=1) / before.norm(dim=1)).mean().detach())


@torch.no_grad()
def _learnt(method: FedLscl, task: PreparedTask) -> dict[str, float]:
    allowed = method.allowed("task", task)
    losses = {
        name: float(masked_cross_entropy(method.logits(part), part.label, allowed))
        for name, part in (("train", task.train), ("test", task.test))
    }
    return losses | {"right": method.accuracies()[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--model", help="a folder with MiniLM's weights, in place of its name")
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--untrained", action="store_true", help="what is seen before training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rate", type=float, default=0.001)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    record = json.loads(options.out.read_text()) if options.out.exists() else {"results": {}}
    key = "random" if options.random else "MiniLM"
    places = {str(options.data): "FOLDER", options.model: "FOLDER"}  # of this machine
    words = [places.get(word, word) for word in sys.argv]
    loaded: dict[str, Any] = {}
    rows = record["results"].setdefault(key, {})
    for blocks in (*((block,) for block in range(6)), (0, 1, 2, 3, 4, 5)):
        for seed in options.seeds:
            found = measured(options, blocks, seed, loaded)
            rows.setdefault(" ".join(map(str, blocks)), {})[str(seed)] = found
            print(blocks, seed, json.dumps(found.get("after", found["before"])), flush=True)
            record |= {"environment": environment(), "command": shlex.join(["python", *words])}
            write_json(options.out, record)


if __name__ == "__main__":
    main()
