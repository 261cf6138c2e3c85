"""Peak memory and time of log-probabilities at a large vocabulary, forward and backward.

    python bench/logprob_memory.py [--device cuda] [--bf16]

From final hidden states and a head's weight, both trained, to the log-probabilities of the tokens
taken, and back. Each way runs in a process of its own, so that peaks are not each other's:

- direct: all logits, log_softmax, gather;
- trl: all logits, TRL's selective_log_softmax;
- trl_chunked: TRL's ChunkedLogProbFunction, at the chunk it uses itself;
- torch_chunked: torch's linear_cross_entropy with its own choice of chunks;
- understudy: pair_logprobs, which gives the log-probability of asking as well.

Memory is what was used beyond the inputs, the gradients of both included: on the CPU the
process's peak resident size less that before the pass, on a GPU the allocator's. Errors are held
against direct, on the gradient of the weight as a share of its largest entry.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.environment import environment
from understudy.models.logprobs import pair_logprobs

ROOT = Path(__file__).resolve().parents[1]
WAYS = ["direct", "trl", "trl_chunked", "torch_chunked", "understudy"]
ASK = 2
Logprobs = Callable[[Tensor, Tensor, Tensor], Tensor]


def direct(hidden: Tensor, weight: Tensor, taken: Tensor) -> Tensor:
    logprobs = F.linear(hidden, weight).float().log_softmax(dim=-1)
    return logprobs.gather(1, taken[:, None]).squeeze(1)


def understudy(hidden: Tensor, weight: Tensor, taken: Tensor) -> Tensor:
    return pair_logprobs(hidden, weight, taken, ASK)[:, 0]


def trl(hidden: Tensor, weight: Tensor, taken: Tensor) -> Tensor:
    from trl.trainer.utils import selective_log_softmax

    return selective_log_softmax(F.linear(hidden, weight), taken)


def trl_chunked(hidden: Tensor, weight: Tensor, taken: Tensor) -> Tensor:
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction

    found = ChunkedLogProbFunction.apply(hidden, weight, None, taken, 1.0, CHUNK, None, 1.0, ())
    return found[0]  # type: ignore[no-any-return]


CHUNK = 8192  # of the vocabulary


def torch_chunked(hidden: Tensor, weight: Tensor, taken: Tensor) -> Tensor:
    options = torch.nn.LinearCrossEntropyOptions()
    return -F.linear_cross_entropy(hidden, weight, taken, reduction="none", options=options)


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def one(way: str, args: argparse.Namespace) -> dict[str, Any]:
    """Time and memory of one way; its weight's gradient goes to a file for comparison."""
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(args.seed)
    weight = torch.randn(args.vocabulary, args.hidden, generator=generator).mul_(0.03)
    hidden = torch.randn(args.tokens, args.hidden, generator=generator)
    taken = torch.randint(args.vocabulary, (args.tokens,), generator=generator).to(args.device)
    advantage = torch.randn(args.tokens, generator=generator).to(args.device)
    weight, hidden = (x.to(args.device).requires_grad_() for x in (weight, hidden))
    logprobs: Logprobs = globals()[way]

    def step(hidden: Tensor, weight: Tensor, taken: Tensor, advantage: Tensor) -> Tensor:
        weight.grad = hidden.grad = None
        with torch.autocast(args.device, torch.bfloat16, enabled=args.bf16):
            found = logprobs(hidden, weight, taken)
        (found * advantage).sum().backward()
        return found.detach()

    few = slice(0, 8)
    small = [x[few].detach().requires_grad_() for x in (hidden, weight)]
    step(*small, taken[few] % 8, advantage[few])  # imports and first-time costs
    cuda = args.device == "cuda"
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if cuda else resident()
    walls, processors = [], []
    for _ in range(args.repeats):
        wall, processor = time.perf_counter(), time.process_time()
        found = step(hidden, weight, taken, advantage)
        if cuda:
            torch.cuda.synchronize()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    used = (torch.cuda.max_memory_allocated() if cuda else peak) - before
    torch.save({"logprobs": found.cpu(), "weight": weight.grad[: 1 << 14].cpu()}, args.result)
    return {
        "seconds": statistics.median(walls),
        "processor_seconds": statistics.median(processors),
        "megabytes": used / 2**20,
    }


def compared(args: argparse.Namespace) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            result = f"{folder}/{way}.pt"
            command = [sys.executable, __file__, *sys.argv[1:], "--way", way, "--result", result]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                rows[way] = None  # it does not run here, or not in this memory
                continue
            rows[way] = json.loads(done.stdout)
            theirs, expected = torch.load(result), torch.load(f"{folder}/{WAYS[0]}.pt")
            for name, found in theirs.items():
                error = (found - expected[name]).abs().max() / expected[name].abs().max()
                rows[way][f"error_{name}"] = float(error)
            print(way, json.dumps(rows[way]), flush=True)
    return rows


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/logprob_memory.json")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parsed()
    if args.way:
        print(json.dumps(one(args.way, args)))
        return
    rows = compared(args)
    ours = rows["understudy"]
    ratios = {
        way: {name: row[name] / ours[name] for name in ("megabytes", "seconds")}
        for way, row in rows.items()
        if row is not None and way != "understudy"
    }
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    names = ("tokens", "vocabulary", "hidden", "device", "bf16", "threads", "repeats", "seed")
    record = {
        "command": " ".join(["python", "bench/logprob_memory.py", *sys.argv[1:]]),
        "commit": commit.stdout.strip(),
        "settings": {name: getattr(args, name) for name in names},
        "load_average": os.getloadavg(),
        "environment": environment() | {"platform": f"{platform.system()} {platform.machine()}"},
        "results": rows,
        "ratio_to_understudy": ratios,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
