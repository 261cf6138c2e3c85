"""A frozen network's pass with an adapter per sample, beside the pass without, and beside a loop.

    python bench/federate.py
    python bench/federate.py --foundation FOLDER --batch 32 --gradients

For each number of adapted blocks, the time of `features` over a batch in which every sample has
its own pair of matrices, divided by that of the frozen network alone, in turns in one process (so
that what else the machine does falls on both); and the peak of memory beyond the inputs and the
adapters, in a process of its own for each. The reference is the plain way to the same numbers:
peft's ordinary LoRA of the same blocks, loaded and passed sample by sample. With --gradients also
the pass back to the adapters is taken; the frozen side then stands for the forward pass alone.

    python bench/federate.py server      what distillation costs the server
    python bench/federate.py rounds      client-rounds per second, beside a plain loop and Flower
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from understudy.environment import environment
from understudy.federate.foundations.foundation import Adapter, Foundation, Inputs
from understudy.federate.foundations.loading import load_foundation
from understudy.federate.foundations.settings import FoundationSettings
from understudy.files import write_json

OUT = Path(__file__).parent / "results" / "federate.json"
LIMIT = 1.3  # times the frozen network's time

Adapters = Mapping[int, Adapter]


def frozen_of(options: argparse.Namespace) -> Foundation:
    return load_foundation(FoundationSettings(name=options.foundation, random=options.random))


def inputs_of(foundation: Foundation, batch: int) -> Inputs:
    torch.manual_seed(0)
    if foundation.kind == "pictures":
        return foundation.prepare(torch.rand(batch, 3, 32, 32))
    return foundation.prepare(["what does the card payment fee on my statement mean"] * batch)


def adapters_of(
    foundation: Foundation, blocks: Sequence[int], batch: int, rank: int, trained: bool
) -> dict[int, Adapter]:
    found = {}
    for block in blocks:
        target = foundation.target(block)
        a = torch.randn(batch, rank, target.inputs) / target.inputs**0.5
        b = 0.01 * torch.randn(batch, sum(target.outputs), rank)
        found[block] = Adapter(a.requires_grad_(trained), b.requires_grad_(trained), 4.0)
    return found


def passed(foundation: Foundation, inputs: Inputs, adapters: Adapters, trained: bool) -> None:
    with torch.set_grad_enabled(trained and bool(adapters)):
        features = foundation.features(inputs, adapters)
        if features.requires_grad:
            features.square().sum().backward()


def timed(works: Mapping[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each, by turns; the first turn is left out."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if turn:
                found[name].append(time.perf_counter() - started)
    return found


def by_peft(options: argparse.Namespace, blocks: Sequence[int]) -> Callable[[], None]:
    """Sample by sample: its adapter is loaded into ordinary LoRA layers, then it is passed."""
    from peft import LoraConfig, get_peft_model

    foundation = frozen_of(options)
    inputs = inputs_of(foundation, options.batch)
    adapters = adapters_of(foundation, blocks, options.batch, options.rank, trained=False)
    targets = {block: foundation.target(block) for block in blocks}
    names = [name for target in targets.values() for name in target.layers]
    model = get_peft_model(
        foundation.module, LoraConfig(r=options.rank, lora_alpha=16, target_modules=names)
    ).eval()
    layers = {name: model.get_submodule(f"base_model.model.{name}") for name in names}

    def load(sample: int) -> None:
        for block, target in targets.items():
            parts = adapters[block].b[sample].split(list(target.outputs))
            for name, part in zip(target.layers, parts, strict=True):
                layers[name].lora_A["default"].weight.data.copy_(adapters[block].a[sample])
                layers[name].lora_B["default"].weight.data.copy_(part)

    def work() -> None:
        with torch.no_grad():
            for sample in range(options.batch):
                load(sample)
                one = {name: each[sample : sample + 1] for name, each in inputs.items()}
                foundation.features(one)

    return work


def times(options: argparse.Namespace) -> dict[str, Any]:
    """By the number of adapted blocks, the first ones: seconds, and times the frozen network's."""
    foundation = frozen_of(options)
    inputs = inputs_of(foundation, options.batch)
    counts = [n for n in options.blocks if n <= foundation.blocks]
    works: dict[str, Callable[[], None]] = {
        "frozen": lambda: passed(foundation, inputs, {}, options.gradients)
    }
    for count in counts:
        made = adapters_of(foundation, range(count), options.batch, options.rank, options.gradients)

        def work(made: Adapters = made) -> None:
            passed(foundation, inputs, made, options.gradients)

        works[f"{count} blocks"] = work
    if options.peft:
        works[f"peft, {counts[-1]} blocks"] = by_peft(options, range(counts[-1]))
    found = timed(works, options.repeats)
    middle = {name: statistics.median(each) for name, each in found.items()}
    ratios = {name: each / middle["frozen"] for name, each in middle.items()}
    return {"seconds": middle, "times the frozen network's": ratios}


def peak(options: argparse.Namespace, count: int) -> float:
    """Megabytes beyond the inputs and the adapters of one pass, in this process."""
    foundation = frozen_of(options)
    inputs = inputs_of(foundation, options.batch)
    made = adapters_of(foundation, range(count), options.batch, options.rank, options.gradients)
    few = {name: each[:1] for name, each in inputs.items()}
    foundation.features(few)  # imports and first-time costs
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    passed(foundation, inputs, made, options.gradients)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return (most - pages * resource.getpagesize()) / 2**20


def peaks(options: argparse.Namespace) -> dict[str, float]:
    """Of a process each."""
    found = {}
    for count in (0, *(n for n in options.blocks if n <= frozen_of(options).blocks)):
        words = [sys.executable, *sys.argv, "--one", str(count)]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        name = f"{count} blocks" if count else "frozen"
        found[name] = float(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    if sys.argv[1:2] in (["server"], ["rounds"]):
        import_module(f"federate_{sys.argv[1]}").main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--foundation", default="vit", help="a name or a folder")
    parser.add_argument("--random", action="store_true", help="its shape with random weights")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--blocks", type=int, nargs="+", default=[1, 2, 4, 8, 12])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--gradients", action="store_true", help="and the pass back")
    parser.add_argument("--peft", action="store_true", help="and the loop, which takes long")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one is not None:
        print(peak(options, options.one))
        return
    record = json.loads(options.out.read_text()) if options.out.exists() else {"results": {}}
    key = f"{options.foundation}, batch {options.batch}, rank {options.rank}"
    key += ", with gradients" if options.gradients else ""
    found = times(options) | {"peak megabytes": peaks(options)}
    command = shlex.join(["python", *sys.argv])
    record["results"][key] = {"environment": environment(), "command": command, **found}
    write_json(options.out, record)
    print(json.dumps(found, indent=2))
    ratio = found["times the frozen network's"]["2 blocks"]
    print(f"two adapted blocks: {ratio:.2f} times the frozen network's time (limit {LIMIT})")


if __name__ == "__main__":
    main()
