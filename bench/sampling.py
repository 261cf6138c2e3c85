"""Tokens drawn per second: this project's sampling beside transformers' `generate`.

    python bench/sampling.py --size qwen2-0.5b

Both have the same weights (random, of `shapes.py`), prompts, groups, length, precision and number
of threads, and take turns within one process. transformers is called as TRL calls it without
vLLM: each prompt repeated for its group, temperature 1, all of the vocabulary, a dynamic cache.
Our draw also notes the log-probability of every token and of asking, and the entropy.

Every repetition draws one token, which is the prompts' cost, and then `--length` tokens; the
difference is the decoding of the rest. Shares are of two bounds on decoding, measured in the same
run: `memory_share` of the bandwidth, when each step reads every weight, each prompt's keys and
values, and each row's own; `compute_share` of the pace of large products. In bfloat16 our weights
are cast from the float32 that is trained at the beginning of each draw, which counts; those of
transformers were stored in it.

On a CPU seconds are the processor's own, with one thread: others on the machine disturb them less.
Wall-clock seconds stand beside them in the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from roofline import bandwidth, decode_bytes, decode_flops, now, peak_flops
from shapes import SHAPES, checkpoint

from understudy.environment import environment
from understudy.models.policy import Policy
from understudy.models.sampling import Drawing, Prompts

ROOT = Path(__file__).resolve().parents[1]
Draw = Callable[[Prompts, int, int], int]  # prompts, group, length: how many tokens were drawn
Row = dict[str, Any]


def our_draw(policy: Policy, seed: int) -> Draw:
    def draw(prompts: Prompts, group: int, length: int) -> int:
        drawing = Drawing(length)
        uniforms = drawing.uniforms(len(prompts.ids) * group, seed).to(policy.device)
        drawn = policy.sample(prompts, group, drawing, uniforms)
        return int(drawn.mask.sum())

    return draw


def their_draw(folder: Path, dtype: torch.dtype, device: str, stops: list[int]) -> Draw:
    from transformers import AutoModelForCausalLM, GenerationConfig

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()

    @torch.no_grad()
    def draw(prompts: Prompts, group: int, length: int) -> int:
        config = GenerationConfig(
            max_new_tokens=length,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            pad_token_id=0,
            eos_token_id=stops,
        )
        ids = prompts.ids.repeat_interleave(group, dim=0)
        mask = prompts.mask.repeat_interleave(group, dim=0).long()
        found = model.generate(ids, attention_mask=mask, generation_config=config)
        return int((found[:, ids.shape[1] :] != 0).sum())

    return draw


def given_prompts(count: int, longest: int, vocabulary: int, device: str, seed: int) -> Prompts:
    """Left-padded, of lengths from half the longest to the longest."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocabulary, (count, longest), generator=generator)
    lengths = torch.linspace(longest, longest / 2, count).long()
    mask = torch.arange(longest) >= (longest - lengths)[:, None]
    return Prompts((ids * mask).to(device), mask.to(device))


def contenders(args: argparse.Namespace) -> dict[str, Draw]:
    folder = checkpoint(args.size)
    policy = Policy.load(str(folder), args.device)
    stops = [policy.tokens.end, policy.tokens.ask]
    draws: dict[str, Draw] = {}
    for name in args.dtypes:
        half = name == "bfloat16"
        draws[f"understudy {name}"] = our_draw(replace(policy, bf16=half), args.seed)
        dtype = getattr(torch, name)
        draws[f"transformers {name}"] = their_draw(folder, dtype, args.device, stops)
    return draws


def timed(draw: Draw, prompts: Prompts, group: int, length: int, device: str) -> Row:
    wall, started = time.perf_counter(), now(device)
    drawn = draw(prompts, group, length)
    return {
        "seconds": now(device) - started,
        "wall": time.perf_counter() - wall,
        "tokens": drawn,
    }


def measured(case: str, draws: dict[str, Draw], machine: Row, args: argparse.Namespace) -> Row:
    """All contenders in turns on one case, the order reversed at every repetition."""
    count, group = (int(part) for part in case.split("x"))
    shape = SHAPES[args.size]
    prompts = given_prompts(count, args.prompt, shape.vocab_size, args.device, args.seed)
    runs: dict[str, list[tuple[Row, Row]]] = {name: [] for name in draws}
    for number in range(args.repeats + 1):
        for name in draws if number % 2 else [*draws][::-1]:
            lengths = (1, args.length) if number else (1, 2)  # the first is a warm-up
            one, all_ = (timed(draws[name], prompts, group, n, args.device) for n in lengths)
            if number:
                runs[name].append((one, all_))
            print(case, name, f"{one['seconds']:.2f} {all_['seconds']:.2f}", file=sys.stderr)
    rows = {name: summary(pairs) for name, pairs in runs.items()}
    own = args.length // 2  # on average
    for name, row in rows.items():
        dtype = name.split()[1]
        size = 2 if dtype == "bfloat16" else 4
        prompt = round(int(prompts.mask.sum()) / count)
        needed = decode_bytes(shape, count, group, prompt, own, size)
        pace = row["decode_tokens_per_second"] / (count * group)  # steps per second
        row["memory_share"] = pace * needed / machine["bytes_per_second"]
        work = decode_flops(shape, count * group)
        row["compute_share"] = pace * work / machine[f"{dtype} flops_per_second"]
    ratios = {
        name: rows[f"understudy {name}"]["tokens_per_second"]
        / rows[f"transformers {name}"]["tokens_per_second"]
        for name in args.dtypes
    }
    return {"prompts": count, "group": group, "sides": rows, "ratio": ratios}


def summary(pairs: list[tuple[Row, Row]]) -> Row:
    """Of medians: one token is the prompts' cost, the rest is decoding."""
    first = statistics.median(one["seconds"] for one, _ in pairs)
    whole = statistics.median(all_["seconds"] for _, all_ in pairs)
    drawn = statistics.fmean(all_["tokens"] for _, all_ in pairs)
    rest = drawn - statistics.fmean(one["tokens"] for one, _ in pairs)
    return {
        "tokens_per_second": drawn / whole,
        "decode_tokens_per_second": rest / max(whole - first, 1e-9),
        "first_token_seconds": first,
        "seconds": whole,
        "wall_seconds": statistics.median(all_["wall"] for _, all_ in pairs),
        "tokens": drawn,
        "all_seconds": [all_["seconds"] for _, all_ in pairs],
        "all_first": [one["seconds"] for one, _ in pairs],
    }


def shown(row: Row) -> str:
    lines = [f"{row['prompts']} prompts x {row['group']}"]
    for name, side in row["sides"].items():
        lines.append(
            f"  {name:22} {side['tokens_per_second']:8.2f} tokens/s  first token "
            f"{side['first_token_seconds']:.2f} s  decoding "
            f"{side['decode_tokens_per_second']:8.2f} tokens/s: {side['memory_share']:.0%} of "
            f"bandwidth, {side['compute_share']:.0%} of FLOP/s"
        )
    ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in row["ratio"].items())
    return "\n".join([*lines, f"  ratio {ratios}"])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=SHAPES, default="qwen2-0.5b")
    parser.add_argument("--cases", nargs="*", default=["8x1", "2x4"], help="prompts x group")
    parser.add_argument("--prompt", type=int, default=48, help="tokens of the longest prompt")
    parser.add_argument("--length", type=int, default=16, help="tokens drawn for each sample")
    dtypes = ("float32", "bfloat16")
    parser.add_argument("--dtypes", nargs="*", choices=dtypes, default=["float32"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="its JSON; bench/results/sampling_SIZE.json")
    args = parser.parse_args()
    args.out = args.out or ROOT / "bench" / "results" / f"sampling_{args.size}.json"
    return args


def main() -> None:
    args = parsed()
    if args.device == "cpu" and args.threads != 1:
        raise SystemExit(f"threads={args.threads}: processor time is that of one thread; use 1")
    torch.set_num_threads(args.threads)
    draws = contenders(args)
    machine = {"bytes_per_second": bandwidth(args.device)}
    for name in args.dtypes:
        machine[f"{name} flops_per_second"] = peak_flops(args.device, getattr(torch, name))
    load, rows = os.getloadavg(), []
    for case in args.cases:
        rows.append(measured(case, draws, machine, args))
        print(shown(rows[-1]), flush=True)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    names = ("size", "prompt", "length", "repeats", "device", "threads", "seed")
    record = {
        "command": " ".join(["python", "bench/sampling.py", *sys.argv[1:]]),
        "commit": commit.stdout.strip(),
        "settings": {name: getattr(args, name) for name in names},
        "shape": asdict(SHAPES[args.size]),
        "machine": machine,
        "load_average": {"before": load, "after": os.getloadavg()},
        "environment": environment() | {"platform": f"{platform.system()} {platform.machine()}"},
        "results": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
