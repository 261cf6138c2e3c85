"""Tokens drawn per second: this project beside transformers' `generate` and llama.cpp.

    python bench/sampling.py --model HuggingFaceTB/SmolLM2-135M-Instruct
    python bench/sampling.py --size qwen2-0.5b --cases 8x4:64+32

A case PROMPTSxGROUP:LENGTH+DRAWN/SHARED is so many prompts of LENGTH tokens, the first SHARED of
which all have in common, each completed GROUP times by DRAWN tokens. Weights are real (`--model`: a
name of the hub, or a folder, which `--name` gives one) or random, in a known shape (`--size`).
All sides have the same prompts of random tokens, temperature 1, all of the vocabulary and one
thread, and take turns within one run. No completion ends early. transformers is called as TRL
calls it without vLLM: each prompt repeated for its group, a dynamic cache. llama.cpp is its
server with a slot per row, in a process of its own (`--gguf FILE`; its weights have fewer bits).
Our draw also notes the log-probability of every token and of asking, and the entropy.

Every repetition draws one token, which is the prompts' cost, and then all; the difference is
decoding. `share_of_products` is of the time that the products with the model's weights alone take
for so many rows, measured in turns with it. `parts` says where the time of our decoding goes. In
bfloat16 our weights are cast at the beginning of each draw from the float32 that is trained, which
counts; those of transformers were stored in it.

On a CPU seconds are the processor's own: others on the machine disturb them less. Wall-clock
seconds stand beside them in the JSON. A run adds its model to the results file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from roofline import now, products_seconds
from shapes import SHAPES, checkpoint
from torch import Tensor, nn

from understudy.environment import environment
from understudy.models import groups, sampling
from understudy.models.fused import Fused, FusedHead
from understudy.models.hub import resolve
from understudy.models.policy import Policy
from understudy.models.sampling import Drawing, Prompts, Stops

ROOT = Path(__file__).resolve().parents[1]
NEVER = float("-inf")
Draw = Callable[[Prompts, int, int], "Row"]  # prompts, group, length: what it took
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    prompts: int
    group: int
    prompt: int
    length: int
    shared: int

    @classmethod
    def read(cls, text: str) -> Case:
        found = re.fullmatch(r"(\d+)x(\d+):(\d+)\+(\d+)(?:/(\d+))?", text)
        if not found:
            raise argparse.ArgumentTypeError(f"{text} is no case like 8x4:64+64 or 32x1:605+8/596")
        return cls(*(int(part or 0) for part in found.groups()))

    def __str__(self) -> str:
        shared = f"/{self.shared}" if self.shared else ""
        return f"{self.prompts}x{self.group}:{self.prompt}+{self.length}{shared}"

    @property
    def rows(self) -> int:
        return self.prompts * self.group

    def drawn_prompts(self, vocabulary: int, device: str, seed: int) -> Prompts:
        generator = torch.Generator().manual_seed(seed)
        size = (self.prompts, self.prompt)
        ids = torch.randint(3, vocabulary, size, generator=generator).to(device)
        ids[:, : self.shared] = ids[0, : self.shared].clone()
        return Prompts(ids, torch.ones_like(ids, dtype=torch.bool))


def our_draw(policy: Policy, seed: int) -> Draw:
    stops = Stops(-1, policy.tokens.ask)  # nothing ends

    def draw(prompts: Prompts, group: int, length: int) -> Row:
        drawing = Drawing(length, ask_shift=NEVER)
        uniforms = drawing.uniforms(len(prompts.ids) * group, seed).to(policy.device)
        with policy._precision():
            drawn = policy.model.sample(prompts, group, stops, drawing, uniforms)
        return {"tokens": int(drawn.mask.sum())}

    return timed(draw, policy.device)


def their_draw(folder: Path, dtype: torch.dtype, device: str) -> Draw:
    from transformers import AutoModelForCausalLM, GenerationConfig

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
    model.generation_config = GenerationConfig()  # the checkpoint's own might cut the vocabulary

    @torch.no_grad()
    def draw(prompts: Prompts, group: int, length: int) -> Row:
        config = GenerationConfig(
            max_new_tokens=length, do_sample=True, temperature=1.0, top_k=0, top_p=1.0
        )
        ids = prompts.ids.repeat_interleave(group, dim=0)
        mask = prompts.mask.repeat_interleave(group, dim=0).long()
        found = model.generate(ids, attention_mask=mask, generation_config=config)
        return {"tokens": found[:, ids.shape[1] :].numel()}

    return timed(draw, device)


def timed(draw: Draw, device: str) -> Draw:
    def clocked(prompts: Prompts, group: int, length: int) -> Row:
        wall, started = time.perf_counter(), now(device)
        found = draw(prompts, group, length)
        return found | {"seconds": now(device) - started, "wall": time.perf_counter() - wall}

    return clocked


class LlamaServer:
    """llama.cpp, one slot per row."""

    def __init__(self, python: str, file: Path, case: Case) -> None:
        command = [python, str(ROOT / "bench" / "llama_decode.py"), str(file), str(case.rows)]
        command.append(str(case.prompt + case.length + 8))
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        self._line()

    def _line(self) -> Row:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("llama.cpp's side ended; run bench/llama_decode.py to see why")
        return dict(json.loads(line))

    def draw(self, prompts: Prompts, group: int, length: int) -> Row:
        assert self.process.stdin is not None
        texts = [ids for ids in prompts.ids.tolist() for _ in range(group)]
        self.process.stdin.write(json.dumps({"prompts": texts, "length": length}) + "\n")
        self.process.stdin.flush()
        return self._line()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def parts_of(policy: Policy) -> Iterator[dict[str, float]]:
    """Seconds in the parts of our decoding, as long as this is open."""
    found = dict.fromkeys(("products", "attention", "choosing tokens"), 0.0)

    def clocked(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            started = now(policy.device)
            try:
                return work(*given, **named)
            finally:
                found[name] += now(policy.device) - started

        return run

    kinds = (nn.Linear, Fused, FusedHead)
    attend, choose = groups.attend_levels, sampling.choose
    own = {kind: kind.forward for kind in kinds}
    try:
        for kind in kinds:
            kind.forward = clocked("products", kind.forward)  # type: ignore[method-assign]
        groups.attend_levels = clocked("attention", attend)
        sampling.choose = clocked("choosing tokens", choose)
        yield found
    finally:
        groups.attend_levels, sampling.choose = attend, choose
        for kind in kinds:
            kind.forward = own[kind]  # type: ignore[method-assign]


def shares_of_parts(policy: Policy, prompts: Prompts, case: Case, seed: int) -> Row:
    """What part of our decoding each part takes; `other` is norms, positions, activations and
    Python."""
    draw, seen = our_draw(policy, seed), []
    for length in (1, case.length):
        with parts_of(policy) as found:
            whole = draw(prompts, case.group, length)["seconds"]
        seen.append(found | {"all": whole})
    spent = {name: seen[1][name] - seen[0][name] for name in seen[0]}
    whole = spent.pop("all")
    spent["other"] = whole - sum(spent.values())
    return {name: seconds / whole for name, seconds in spent.items()}


def measured(case: Case, args: argparse.Namespace, policy: Policy, draws: dict[str, Draw]) -> Row:
    """All sides in turns on one case, the order reversed at every repetition."""
    prompts = case.drawn_prompts(policy.model.vocabulary, args.device, args.seed)
    llama = LlamaServer(args.llama_python, args.gguf, case) if args.gguf else None
    if llama:
        draws = draws | {"llama.cpp": llama.draw}
    weights = {
        name: [w.detach().to(getattr(torch, name)) for w in matrices_of(policy)]
        for name in args.dtypes
    }
    products: dict[str, list[float]] = {name: [] for name in args.dtypes}
    runs: dict[str, list[tuple[Row, Row]]] = {name: [] for name in draws}
    for number in range(args.repeats + 1):
        for name in draws if number % 2 else [*draws][::-1]:
            if not number:  # a warm-up
                draws[name](prompts, case.group, 2)
                continue
            one, all_ = (draws[name](prompts, case.group, n) for n in (1, case.length))
            runs[name].append((one, all_))
            print(name, f"{one['seconds']:.2f} {all_['seconds']:.2f}", file=sys.stderr)
        for name, matrices in weights.items():
            products[name].append(products_seconds(matrices, case.rows, args.device))
    if llama:
        llama.close()
    rows = {name: summary(pairs) for name, pairs in runs.items()}
    for name in args.dtypes:
        row, alone = rows[f"understudy {name}"], min(products[name])
        step = case.rows / row["decode_tokens_per_second"]
        count = sum(matrix.numel() for matrix in weights[name])
        row["products_flops_per_second"] = 2 * count * case.rows / alone
        row["share_of_products"] = alone / step
        own = replace(policy, bf16=name == "bfloat16")
        row["parts"] = shares_of_parts(own, prompts, case, args.seed)
    return {"case": asdict(case), "sides": rows}


def matrices_of(policy: Policy) -> list[Tensor]:
    layers = [each for each in policy.network.modules() if isinstance(each, nn.Linear)]
    return [layer.weight for layer in layers]


def summary(pairs: list[tuple[Row, Row]]) -> Row:
    """Of medians: one token is the prompts' cost, the rest is decoding."""
    first = statistics.median(one["seconds"] for one, _ in pairs)
    whole = statistics.median(all_["seconds"] for _, all_ in pairs)
    drawn = statistics.fmean(all_["tokens"] for _, all_ in pairs)
    rest = drawn - statistics.fmean(one["tokens"] for one, _ in pairs)
    decoding = statistics.median(all_["seconds"] - one["seconds"] for one, all_ in pairs)
    return {
        "tokens_per_second": drawn / whole,
        "decode_tokens_per_second": rest / max(decoding, 1e-9),
        "first_token_seconds": first,
        "seconds": whole,
        "wall_seconds": statistics.median(all_["wall"] for _, all_ in pairs),
        "tokens": drawn,
        "all_seconds": [all_["seconds"] for _, all_ in pairs],
        "all_first": [one["seconds"] for one, _ in pairs],
    }


def shown(row: Row) -> str:
    case, lines = row["case"], []
    lines.append(" ".join(f"{name} {value}" for name, value in case.items()))
    for name, side in row["sides"].items():
        text = (
            f"  {name:22} {side['tokens_per_second']:8.1f} tokens/s  first token "
            f"{side['first_token_seconds']:6.2f} s  decoding "
            f"{side['decode_tokens_per_second']:8.1f} tokens/s"
        )
        if "parts" in side:
            parts = ", ".join(f"{part} {share:.0%}" for part, share in side["parts"].items())
            text += f"  {side['share_of_products']:.0%} of products' pace; {parts}"
        lines.append(text)
    return "\n".join(lines)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--size", choices=SHAPES, help="random weights in this shape")
    what.add_argument("--model", help="a name of the hub, or a folder")
    parser.add_argument("--name", help="of a model in the results, where --model is a folder")
    parser.add_argument("--gguf", type=Path, help="the same model for llama.cpp")
    parser.add_argument("--llama-python", default=sys.executable, help="one that has xllamacpp")
    cases = ["8x4:64+64", "32x1:605+8/596"]
    parser.add_argument("--cases", nargs="*", type=Case.read, default=[*map(Case.read, cases)])
    dtypes = ("float32", "bfloat16")
    parser.add_argument("--dtypes", nargs="*", choices=dtypes, default=["float32", "bfloat16"])
    parser.add_argument("--alone", action="store_true", help="without transformers")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "sampling.json")
    args = parser.parse_args()
    if args.model and not args.name and Path(args.model).exists():
        parser.error("--model is a folder; give the name that it has in the results by --name")
    args.size = None if args.model else args.size or "qwen2-0.5b"
    args.name = args.name or args.model or f"{args.size}, random weights"
    return args


def command_of(args: argparse.Namespace) -> str:
    """The command of a record, without the folders of this machine."""
    parts = ["python bench/sampling.py"]
    parts.append(f"--model {args.name}" if args.model else f"--size {args.size}")
    parts.append("--cases " + " ".join(map(str, args.cases)))
    parts.append(f"--dtypes {' '.join(args.dtypes)} --repeats {args.repeats} --seed {args.seed}")
    parts += [f"--gguf {args.gguf.name}"] if args.gguf else []
    parts += ["--alone"] if args.alone else []
    return " ".join([*parts, f"--device {args.device}"])


def main() -> None:
    args = parsed()
    torch.set_num_threads(1)
    folder = resolve(args.model) if args.model else checkpoint(args.size)
    policy = Policy.load(str(folder), args.device)
    draws: dict[str, Draw] = {}
    for name in args.dtypes:
        draws[f"understudy {name}"] = our_draw(replace(policy, bf16=name == "bfloat16"), args.seed)
        if not args.alone:
            draws[f"transformers {name}"] = their_draw(folder, getattr(torch, name), args.device)
    load, rows = os.getloadavg(), []
    for case in args.cases:
        rows.append(measured(case, args, policy, draws))
        print(shown(rows[-1]), flush=True)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    record = json.loads(args.out.read_text()) if args.out.is_file() else {"models": {}}
    record["models"][args.name] = {
        "command": command_of(args),
        "commit": commit.stdout.strip(),
        "settings": {name: getattr(args, name) for name in ("repeats", "device", "seed")},
        "threads": 1,
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "load_average": {"before": load, "after": os.getloadavg()},
        "environment": environment() | {"platform": f"{platform.system()} {platform.machine()}"},
        "results": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
