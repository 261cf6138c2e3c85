"""What a frozen foundation's features tell, by block and pooling: a linear probe and neighbours.

    python bench/federate_probe.py vit digits
    python bench/federate_probe.py vit cifar10.zip --data-options '{"size": 32}'
    python bench/federate_probe.py FOLDER cifar10.zip --size 112 --train 2000 --test 1000

Beside each is the same network with random weights: what it would be worth untrained. Accuracy on
test samples of (a) a linear layer on standardised features, its weight decay chosen on a fifth of
the training samples, and (b) the majority of five nearest neighbours by cosine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.environment import environment
from understudy.errors import ConfigError
from understudy.federate.data import load_samples
from understudy.federate.foundations.loading import load_foundation
from understudy.federate.foundations.pooling import OF_PICTURES, OF_TEXT
from understudy.federate.foundations.settings import FoundationSettings
from understudy.federate.foundations.transformers_foundation import TransformersFoundation
from understudy.federate.samples import SampleSet
from understudy.files import write_json
from understudy.tasks.instances import split_by_class

RESULTS = Path(__file__).parent / "results" / "federate_probe.json"
DECAYS = (1e-4, 1e-3, 1e-2, 1e-1)
NEIGHBOURS = 5
_AT_ONCE = 128


def split(data: SampleSet, train: int, test: int, seed: int) -> tuple[Tensor, Tensor]:
    """Places of at most so many training and test samples, drawn evenly over all."""
    random = torch.Generator().manual_seed(seed)
    if data.held is None:
        parts = split_by_class(data.label, 0.2, seed).values()
        sides = [torch.cat([torch.from_numpy(each[side]) for each in parts]) for side in (0, 1)]
    else:
        sides = [(~data.held).nonzero().flatten(), data.held.nonzero().flatten()]
    first, second = (each[torch.randperm(len(each), generator=random)] for each in sides)
    return first[:train], second[:test]


def pooled_features(
    foundation: TransformersFoundation, data: SampleSet, places: Tensor
) -> dict[tuple[int, str], Tensor]:
    """Features by (blocks passed, pooling): what each block reads, and the last states."""
    known = OF_PICTURES if foundation.kind == "pictures" else OF_TEXT
    found: dict[tuple[int, str], list[Tensor]] = {}
    for part in places.split(_AT_ONCE):
        inputs = foundation.prepare(data.of(part))
        for block, states in enumerate(foundation.states(inputs)):
            for how in known:
                pooled = foundation.pooled(states, inputs, how)
                found.setdefault((block, how), []).append(pooled)
    return {key: torch.cat(parts) for key, parts in found.items()}


def linear_probe(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], classes: int) -> float:
    """Test accuracy of a linear layer; the decay is the best on the last fifth of the training
    samples."""
    mean, deviation = train[0].mean(dim=0), train[0].std(dim=0).clamp(min=1e-6)
    x, wanted = (train[0] - mean) / deviation, (test[0] - mean) / deviation
    cut = len(x) - len(x) // 5
    tried = {
        decay: _right(_fitted(x[:cut], train[1][:cut], classes, decay), x[cut:], train[1][cut:])
        for decay in DECAYS
    }
    best = max(tried, key=lambda decay: tried[decay])
    return _right(_fitted(x, train[1], classes, best), wanted, test[1])


def _fitted(x: Tensor, label: Tensor, classes: int, decay: float) -> Tensor:
    """(classes, width + 1): weights and biases at the minimum of cross-entropy and decay."""
    weight = torch.zeros(classes, x.shape[1] + 1, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        logits = F.linear(x, weight[:, :-1], weight[:, -1])
        value = F.cross_entropy(logits, label) + decay * weight[:, :-1].square().sum() / 2
        value.backward()
        return value

    optimiser.step(loss)
    return weight.detach()


def _right(weight: Tensor, x: Tensor, label: Tensor) -> float:
    answers = F.linear(x, weight[:, :-1], weight[:, -1]).argmax(dim=1)
    return float((answers == label).float().mean())


def nearest(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], classes: int) -> float:
    """Test accuracy of the majority of the nearest; of equal counts, the nearer class wins."""
    mean = train[0].mean(dim=0)
    known, asked = (F.normalize(each - mean, dim=1) for each in (train[0], test[0]))
    likeness, places = (asked @ known.T).topk(min(NEIGHBOURS, len(known)), dim=1)
    votes = F.one_hot(train[1][places], classes) * (1 + 1e-3 * likeness[..., None])
    return float((votes.sum(dim=1).argmax(dim=1) == test[1]).float().mean())


def probed(
    settings: FoundationSettings, data: SampleSet, train: Tensor, test: Tensor
) -> list[dict[str, Any]]:
    foundation = load_foundation(settings)
    if not isinstance(foundation, TransformersFoundation):
        raise ConfigError(f"{settings.name}: only checkpoints of transformers are probed by block")
    classes = len(data.classes)
    known, asked = (pooled_features(foundation, data, places) for places in (train, test))
    rows = []
    for (block, how), features in known.items():
        sides = (features, data.label[train]), (asked[block, how], data.label[test])
        rows.append(
            {
                "after_blocks": block,
                "pooling": how,
                "linear": linear_probe(*sides, classes),
                "neighbours": nearest(*sides, classes),
            }
        )
    return rows


def table(record: dict[str, Any]) -> str:
    """Trained beside random, by block and pooling."""
    lines = ["blocks  pooling   linear (random)   neighbours (random)"]
    for own, other in zip(record["trained"], record["random"], strict=True):
        lines.append(
            f"{own['after_blocks']:>6}  {own['pooling']:<8}"
            f"  {own['linear']:.3f}  ({other['linear']:.3f})"
            f"   {own['neighbours']:.3f}  ({other['neighbours']:.3f})"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("foundation")
    parser.add_argument("data")
    parser.add_argument("--data-options", type=json.loads, default={})
    parser.add_argument("--size", type=int)
    parser.add_argument("--train", type=int, default=4000, help="training samples at most")
    parser.add_argument("--test", type=int, default=2000, help="test samples at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", help="of the record; else foundation and data")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_samples(options.data, options.data_options)
    train, test = split(data, options.train, options.test, options.seed)
    sides = {}
    for random in (False, True):
        settings = FoundationSettings(
            name=options.foundation, size=options.size, random=random, seed=options.seed
        )
        sides["random" if random else "trained"] = probed(settings, data, train, test)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    name = options.name or f"{Path(options.foundation).name} on {Path(options.data).stem}"
    counts = torch.bincount(data.label[test], minlength=len(data.classes))
    record = {
        "command": f"python bench/federate_probe.py {Path(options.foundation).name} "
        f"{Path(options.data).name} --train {options.train} --test {options.test}",
        "commit": commit.strip(),
        "seed": options.seed,
        "size": options.size,
        "samples": [len(train), len(test)],
        "constant": float(counts.max() / counts.sum()),
        "environment": environment(),
    } | sides
    print(f"{name}; the most frequent class: {record['constant']:.3f}\n{table(record)}")
    known = json.loads(options.out.read_text()) if options.out.is_file() else {}
    write_json(options.out, known | {name: record})


if __name__ == "__main__":
    main()
