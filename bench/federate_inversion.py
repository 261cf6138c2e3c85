"""What the feature sets of Fed-LSCL tell about a client's samples: attempts to get these back.

    python bench/federate_inversion.py digits
    python bench/federate_inversion.py FOLDER/train.csv --foundation FOLDER

One client trains a task; another, the attacker, has samples of the same classes, none of them the
first one's, and gets the first client's feature set. It knows the client's small network with its
trained weights (`trained`: the worst case, for they never cross), or takes its own in place of it,
which began with the same weights and has learnt the same classes (`own`), or those first weights,
which the run's seed gives to everybody (`first`). It tries

    optimised    a picture whose features come nearest, from the decoder's on, or words, chosen one
                 after the other
    decoder      ridge regression from features to pixels, or to which words there are, learnt on
                 its own samples
    nearest      its own sample whose features are nearest
    recognised   the client's sample itself, put among all of its own: is it the nearest?
    class        ridge regression from features to the class, learnt on its own samples

Of a picture: the squared error in multiples of that of the attacker's mean picture (`mean`), and
the correlation with the true one. Of a text: the share of its words that are found
with as many guesses as it has different ones; `frequent`: with the most frequent ones. With --clip
and --noise features are sent as these settings of `method.features` say.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from understudy.environment import environment
from understudy.federate.lesson import Lesson
from understudy.federate.methods.fed_lscl import FEATURES
from understudy.federate.population import Federation
from understudy.federate.settings import FederateConfig
from understudy.federate.small.words import WORDS
from understudy.files import write_json
from understudy.settings import check_settings

OUT = Path(__file__).parent / "results" / "federate_inversion.json"
PIXELS = "pixels"


def config_of(options: argparse.Namespace) -> FederateConfig:
    text = options.data != "digits"
    part = {"private": 0, "shared": options.classes, "concentration": 100.0}
    return check_settings(
        FederateConfig,
        {
            "data": options.data,
            "data_options": {"label": options.label} if options.label else {},
            "partition": part,
            "foundation": {
                "name": options.foundation,
                "random": options.random,
                "depth": options.depth,
            },
            "small": "words" if text else "residual",
            "small_options": {"width": 64},
            "feature_width": options.width,
            "clients": 2,
            "tasks": 1,
            "classes_per_task": options.classes,
            "method": {"blocks": [1, 2], "buffer": options.victims},
            "server": "none",
            "local": {"epochs": options.epochs, "batch": 16},
        },
    )


class Attack:
    """network: from the inputs of a small network to features, as the attacker believes; sent: the
    features of the client's samples."""

    def __init__(self, modules: Any, true: dict[str, Tensor], own: dict[str, Tensor]) -> None:
        self.modules, self.true, self.own = modules, true, own
        with torch.no_grad():
            self.known = self.features(own)
            self.candidates = self.features(true)

    def features(self, small: dict[str, Tensor]) -> Tensor:
        found: Tensor = self.modules["projection"](self.modules["small"](small))
        return found

    def nearest(self, sent: Tensor) -> Tensor:
        return torch.cdist(sent, self.known).argmin(dim=1)

    def recognised(self, sent: Tensor) -> float:
        """The share of samples that are nearest to their own features among all candidates."""
        everything = torch.cat([self.candidates, self.known])
        found = torch.cdist(sent, everything).argmin(dim=1)
        return float((found == torch.arange(len(sent))).float().mean())

    def decoded(self, sent: Tensor, wanted: Tensor, ridge: float = 1e-2) -> Tensor:
        """Ridge regression from the attacker's own features to something it knows of them."""
        x, mean = self.known.double(), wanted.double().mean(dim=0)
        centre, scale = x.mean(dim=0), x.std(dim=0).clamp(min=1e-6)
        x = (x - centre) / scale
        inner = x.T @ x / len(x) + ridge * torch.eye(x.shape[1], dtype=x.dtype)
        weight = torch.linalg.solve(inner, x.T @ (wanted.double() - mean) / len(x))
        return (((sent.double() - centre) / scale) @ weight + mean).float()


def pictures(attack: Attack, sent: Tensor, steps: int) -> dict[str, Any]:
    true, own = attack.true[PIXELS], attack.own[PIXELS]
    mean = own.mean(dim=0, keepdim=True)
    low, high = float(own.min()), float(own.max())
    decoded = attack.decoded(sent, own.flatten(1)).clamp(low, high).view_as(true)
    near = ((decoded - low) / (high - low)).clamp(0.05, 0.95)
    guess = near.logit().requires_grad_()
    optimiser = torch.optim.Adam([guess], lr=0.05)
    for _ in range(steps):
        shown = low + (high - low) * guess.sigmoid()
        loss = (attack.features({PIXELS: shown}) - sent).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    made = {
        "mean": mean.expand_as(true),
        "optimised": low + (high - low) * guess.detach().sigmoid(),
        "decoder": decoded,
        "nearest": own[attack.nearest(sent)],
    }
    error = (mean - true).square().mean()
    return {
        name: {
            "error": float((each - true).square().mean() / error),
            "correlation": float(correlation(each.flatten(1), true.flatten(1)).mean()),
        }
        for name, each in made.items()
    }


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """(n,), of rows."""
    one, other = (each - each.mean(dim=1, keepdim=True) for each in (one, other))
    scale = one.norm(dim=1) * other.norm(dim=1)
    return (one * other).sum(dim=1) / scale.clamp(min=1e-9)


def words(attack: Attack, sent: Tensor, most: int) -> dict[str, Any]:
    """Words as the numbers that the small network hashes them to."""
    true = [set(row[row > 0].tolist()) for row in attack.true[WORDS]]
    own = [set(row[row > 0].tolist()) for row in attack.own[WORDS]]
    counted = Counter(word for each in own for word in each)
    vocabulary = [word for word, _ in counted.most_common()]
    there = torch.tensor([[float(word in each) for word in vocabulary] for each in own])
    scores = attack.decoded(sent, there)
    guesses: dict[str, list[set[int]]] = {"frequent": [], "decoder": [], "nearest": []}
    for row, nearest in zip(range(len(true)), attack.nearest(sent).tolist(), strict=True):
        count = len(true[row])
        guesses["frequent"].append(set(vocabulary[:count]))
        guesses["decoder"].append({vocabulary[p] for p in scores[row].topk(count).indices})
        guesses["nearest"].append(own[nearest])
    guesses["optimised"] = [
        greedy(attack, sent[row], vocabulary[:most], len(true[row])) for row in range(len(true))
    ]
    return {
        name: {
            "words": sum(len(g & t) / len(t) for g, t in zip(each, true, strict=True)) / len(true)
        }
        for name, each in guesses.items()
    }


@torch.no_grad()
def greedy(attack: Attack, sent: Tensor, vocabulary: list[int], count: int) -> set[int]:
    """Words in their order, each the one with which the features come nearest."""
    longest = attack.own[WORDS].shape[1]
    chosen: list[int] = []
    tried = torch.zeros(len(vocabulary), longest, dtype=torch.long)
    for place in range(min(count, longest)):
        tried[:, place] = torch.tensor(vocabulary)
        distances = (attack.features({WORDS: tried}) - sent).norm(dim=1)
        best = vocabulary[int(distances.argmin())]
        chosen.append(best)
        tried[:, place] = best
    return set(chosen)


def attempted(options: argparse.Namespace) -> dict[str, Any]:
    federation = Federation(config_of(options))
    client, other = (federation.actor(0, number) for number in (1, 2))
    method: Any = client.method  # type: ignore[attr-defined]
    theirs: Any = other.method  # type: ignore[attr-defined]
    first = deepcopy(method.modules)
    for each in (method, theirs):
        each.start(each.own.tasks[0])
        each.train(Lesson(0, 0, each.own.seed, each.common.config.local))
    (task,), (own,) = method.own.tasks, theirs.own.tasks
    victims = task.train.rows(method.buffer[0])
    text = WORDS in victims.small
    label = torch.nn.functional.one_hot(own.train.label, federation.classes).float()
    found: dict[str, Any] = {"accuracy": method.accuracies()[0], "samples": len(victims)}
    for known, modules in (("trained", method.modules), ("own", theirs.modules), ("first", first)):
        attack = Attack(modules, dict(victims.small), dict(own.train.small))
        norm = float(attack.candidates.norm(dim=1).median())
        for clip, noise in [(None, 0.0), *((options.clip, n) for n in options.noise)]:
            bound = None if clip is None else clip * norm
            kept = method.settings.features.model_copy(update={"clip": bound, "noise": noise})
            method.settings = method.settings.model_copy(update={"features": kept})
            sent = method.upload(0)[FEATURES][FEATURES]
            made = (
                words(attack, sent, options.most) if text else pictures(attack, sent, options.steps)
            )
            right = attack.decoded(sent, label).argmax(dim=1) == victims.label
            made |= {"recognised": attack.recognised(sent), "class": float(right.float().mean())}
            name = f"{known} weights, " + ("as they are" if clip is None else f"noise {noise:g}")
            found[name] = made
            print(name, json.dumps(made))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", help="digits, or a table of texts")
    parser.add_argument("--label", help="the column of a table that is the class")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--foundation", default="vit", help="a name or a folder")
    parser.add_argument("--random", action="store_true", help="its shape with random weights")
    parser.add_argument("--depth", type=int, help="blocks of it that are computed")
    parser.add_argument("--width", type=int, default=128, help="numbers of a sample's features")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--victims", type=int, default=64, help="samples in the feature set")
    parser.add_argument("--steps", type=int, default=400, help="of the optimised pictures")
    parser.add_argument("--most", type=int, default=800, help="words that are tried")
    parser.add_argument("--clip", type=float, default=1.0, help="as a multiple of the median norm")
    parser.add_argument("--noise", type=float, nargs="*", default=[0.0, 0.02, 0.1, 0.5])
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    command = shlex.join(["python", *sys.argv])
    found = {"environment": environment(), "command": command} | attempted(options)
    record = json.loads(options.out.read_text()) if options.out.exists() else {"results": {}}
    record["results"][Path(options.data).stem] = found
    write_json(options.out, record)


if __name__ == "__main__":
    main()
