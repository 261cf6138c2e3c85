"""Pre-train the small ViT that ships, on formula-driven pictures alone.

    python bench/federate_foundation.py                 to build/foundation/vit, hours on one core
    python bench/federate_foundation.py --ship          and into the package
    python bench/federate_foundation.py --steps 20 --batch 8 --width 32 --blocks 2 --out build/try

Two views of one formula should have like features, views of different formulas different ones:

    loss = cross-entropy over the batch of  cos(g(z_i), g(z'_j)) / temperature   (SimCLR, both ways)
    z = (class token, mean of the patches); g is a small network that is thrown away

Half of the patches are left out of every view: half the work, and harder to solve. In the last
tenth of the steps all are there, as they will be in use. What a step draws depends on the seed and
the step alone. A run that was stopped goes on from its last checkpoint, to the same numbers.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import torch
from formula_pictures import draw_formulas, draw_views
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.environment import environment
from understudy.errors import ConfigError
from understudy.federate.foundations.blocks import find_blocks
from understudy.federate.foundations.vit import SIZE, VIT, save_vit, vit_config
from understudy.files import write_folder, write_json

KEPT = 0.5  # of the patches, in most of the steps
LAST_WHOLE = 0.1  # of the steps see all patches
LARGEST = 8 * 2**20  # bytes of the weights in the package
_SHAPE = ("width", "blocks", "heads", "patch")
_FIXED = (*_SHAPE, "steps", "batch", "learning_rate", "temperature", "seed")  # of one training


def states_of(model: Any, pixels: Tensor, kept: float, random: torch.Generator) -> Tensor:
    """Last states of the class token and of a share of the patches."""
    tokens = model.embeddings(2 * pixels - 1)
    if kept < 1:
        count = tokens.shape[1] - 1
        drawn = torch.rand(len(tokens), count, generator=random).argsort(dim=1)
        places = 1 + drawn[:, : round(kept * count), None].expand(-1, -1, tokens.shape[2])
        tokens = torch.cat([tokens[:, :1], tokens.gather(1, places)], dim=1)
    stack, _ = find_blocks("vit", model)
    for block in stack:
        tokens = block(tokens)
    states: Tensor = model.layernorm(tokens)
    return states


def contrastive_loss(first: Tensor, second: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """(loss, share of views whose nearest is their own other view). Both (n, width)."""
    likeness = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / temperature
    own = torch.arange(len(likeness))
    loss = (F.cross_entropy(likeness, own) + F.cross_entropy(likeness.T, own)) / 2
    return loss, (likeness.argmax(dim=1) == own).float().mean()


def rate(step: int, steps: int, highest: float) -> float:
    """Rises over the first twentieth, then falls as a cosine."""
    warm = max(1, steps // 20)
    if step < warm:
        return highest * (step + 1) / warm
    return highest * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


class Training:
    """All that a training has: network, projector, optimiser and the next step."""

    def __init__(self, options: argparse.Namespace) -> None:
        from transformers import ViTModel

        torch.manual_seed(options.seed)
        config = vit_config(**{name: getattr(options, name) for name in _SHAPE})
        self.options, self.step, self.seconds = options, 0, 0.0
        self.model = ViTModel(config, add_pooling_layer=False)
        # Over the batch: at first all pictures have nearly the same states, and what tells them
        # apart must not be drowned by what they have in common.
        self.projector = nn.Sequential(
            nn.BatchNorm1d(2 * options.width, affine=False),
            nn.Linear(2 * options.width, 512, bias=False),
            nn.BatchNorm1d(512),
            nn.GELU(),
            nn.Linear(512, 128, bias=False),
            nn.BatchNorm1d(128, affine=False),
        )
        decayed, others = [], []
        for parameter in [*self.model.parameters(), *self.projector.parameters()]:
            (decayed if parameter.dim() == 2 else others).append(parameter)
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0}]
        self.optimiser = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98))

    def learn(self) -> tuple[float, float]:
        """One step: its loss, and the share of views that find their other."""
        options = self.options
        random = torch.Generator().manual_seed(options.seed * 1_000_003 + self.step)
        formulas = draw_formulas(options.batch, random)
        pixels = torch.cat([draw_views(formulas, SIZE, random) for _ in range(2)])
        kept = 1.0 if self.step >= options.steps * (1 - LAST_WHOLE) else KEPT
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
            states = states_of(self.model, pixels, kept, random)
            seen = torch.cat([states[:, 0], states[:, 1:].mean(dim=1)], dim=1)
            projected = self.projector(seen)
        first, second = projected.float().chunk(2)
        loss, found = contrastive_loss(first, second, options.temperature)
        for group in self.optimiser.param_groups:
            group["lr"] = rate(self.step, options.steps, options.learning_rate)
        self.optimiser.zero_grad()
        loss.backward()
        parameters = [each for group in self.optimiser.param_groups for each in group["params"]]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        self.optimiser.step()
        self.step += 1
        return float(loss.detach()), float(found)

    def save(self, folder: Path) -> None:
        state = {
            "options": {name: getattr(self.options, name) for name in _FIXED},
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "projector": self.projector.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        write_folder(folder, lambda part: torch.save(state, part / "state.pt"))

    def restore(self, folder: Path) -> None:
        state = torch.load(folder / "state.pt", weights_only=True)
        for name, value in state["options"].items():
            if value != getattr(self.options, name):
                raise ConfigError(
                    f"{folder} was trained with {name}={value}, not {getattr(self.options, name)}; "
                    "give the same, or another --out"
                )
        self.step, self.seconds = state["step"], state["seconds"]
        self.model.load_state_dict(state["model"])
        self.projector.load_state_dict(state["projector"])
        self.optimiser.load_state_dict(state["optimiser"])


def train(options: argparse.Namespace) -> Training:
    torch.set_num_threads(options.threads)
    training, checkpoint = Training(options), options.out / "checkpoint"
    if checkpoint.is_dir():
        training.restore(checkpoint)
        print(f"going on from step {training.step}", flush=True)
    else:
        shutil.rmtree(options.out / "vit", ignore_errors=True)
    last = min(options.steps, training.step + (options.stop_after or options.steps))
    recent: list[tuple[float, float]] = []
    while training.step < last:
        started = time.monotonic()
        recent.append(training.learn())
        training.seconds += time.monotonic() - started
        if training.step % options.every == 0 or training.step == last:
            loss, found = (sum(each) / len(recent) for each in zip(*recent, strict=True))
            left = training.seconds / training.step * (options.steps - training.step)
            print(
                f"step {training.step}/{options.steps} loss {loss:.3f} found {found:.3f} "
                f"{training.seconds:.0f} s, about {left / 60:.0f} min left",
                flush=True,
            )
            recent.clear()
            training.save(checkpoint)
    return training


def write(training: Training, folder: Path) -> None:
    """The checkpoint as it ships, and how it came about beside it."""
    options = training.options
    write_folder(folder, lambda part: save_vit(training.model, part))
    size = (folder / "model.safetensors").stat().st_size
    if size > LARGEST:
        raise ConfigError(f"{folder}: {size} bytes of weights; the package takes {LARGEST}")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    record = {
        "command": "python bench/federate_foundation.py",
        "options": {name: getattr(options, name) for name in _FIXED},
        "step": training.step,
        "commit": commit.strip(),
        "seconds": round(training.seconds),
        "bytes": size,
        "environment": environment(),
    }
    write_json(folder / "training.json", record)
    print(json.dumps(record, indent=2))


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("build/foundation"))
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=192, help="formulas of a step, two views each")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--patch", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--temperature", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=25, help="steps between checkpoints")
    parser.add_argument("--stop-after", type=int, help="steps in this call; the next one goes on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bfloat16", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--ship", action="store_true", help="also into the package")
    return parser.parse_args(arguments)


def main() -> None:
    options = parsed()
    training = train(options)
    write(training, options.out / "vit")  # also of a part, which can be probed
    if options.ship and training.step == options.steps:
        shutil.copytree(options.out / "vit", VIT, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
