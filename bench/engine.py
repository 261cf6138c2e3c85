"""The local engine: many streams against one, and versions that are swapped under them.

    python bench/engine.py --model HuggingFaceTB/SmolLM2-135M-Instruct
    python bench/engine.py --model tiny --streams 8 --tokens 16 --swaps 5

Weights are real, the model's own. First one stream and then `--streams` of them write `--tokens`
tokens each, greedily, through the engine as the gateway calls it; they take turns, `--repeats`
times. The first `--shared` words of every prompt are the same. Beside them, in the same run,
transformers' `generate` with one row and with as many rows that begin and end together, which a
server cannot choose. Then `--swaps` versions come one after the other while `--streams` streams ask
without pause: each version is an adapter with random weights, loaded, asked for, and the one before
it unloaded. Told are requests that failed, answers that are more like those of another version than
of their own, asked alone (in bfloat16 rows beside a row move its last bits), and the seconds from
the call until the first token of the new version.

Rates are tokens a second, by the clock on the wall and by the processor's own seconds, of which
others on the machine take less. A run adds its model to the results file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from understudy.environment import environment
from understudy.gateway.engine import Job, Written
from understudy.gateway.engine.base import build_base
from understudy.gateway.engine.local import LocalEngine
from understudy.gateway.engine.options import EngineOptions
from understudy.gateway.engine.prefixes import common
from understudy.models.lora import Lora
from understudy.models.policy import Policy
from understudy.models.precision import chosen_bf16, parameters_of

ROOT = Path(__file__).resolve().parents[1]
BEGUN = "once upon a time there was a small house by the sea, and in it lived"


@dataclass
class Rate:
    """Tokens a second: of all streams together, once per repetition."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def add(self, tokens: int, wall: float, processor: float) -> None:
        self.wall.append(tokens / wall)
        self.processor.append(tokens / processor)

    def middle(self) -> dict[str, float]:
        return {name: statistics.median(values) for name, values in asdict(self).items()}


@dataclass(frozen=True)
class Ways:
    """What is asked. words: at the beginning of every prompt, the same for all."""

    version: str
    tokens: int
    words: int

    def job(self, number: int, version: str = "") -> Job:
        return Job(
            str(number),
            (),
            version or self.version,
            prompt=self.prompt(number),
            max_tokens=self.tokens,
        )

    def prompt(self, number: int) -> str:
        shared = " ".join(["one two three"] * (self.words // 3))
        return f"{shared}\n{number}. {BEGUN}"


async def written(engine: LocalEngine, job: Job) -> Written:
    async for item in engine.write(job):
        if isinstance(item, Written):
            return item
    raise AssertionError("an answer has an end")


async def streams(engine: LocalEngine, ways: Ways, count: int) -> int:
    """Tokens of so many streams at once."""
    found = await asyncio.gather(*(written(engine, ways.job(number)) for number in range(count)))
    return sum(each.completion_tokens for each in found)


async def timed(rate: Rate, work: Callable[[], Awaitable[int]]) -> None:
    wall, processor = time.perf_counter(), time.process_time()
    tokens = await work()
    rate.add(tokens, time.perf_counter() - wall, time.process_time() - processor)


async def measured(engine: LocalEngine, ways: Ways, count: int, repeats: int) -> dict[str, Any]:
    one, many = Rate(), Rate()
    await streams(engine, ways, 1)  # what is made at first use, and the prefix
    for _ in range(repeats):
        await timed(one, lambda: streams(engine, ways, 1))
        await timed(many, lambda: streams(engine, ways, count))
    ratio = {kind: many.middle()[kind] / one.middle()[kind] for kind in ("wall", "processor")}
    return {"one": one.middle(), "many": many.middle(), "ratio": ratio}


def generated(policy: Policy, ways: Ways, rows: int, repeats: int) -> dict[str, float]:
    """transformers' own decoding of rows that begin and end together."""
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if policy.bf16 else torch.float32
    model = AutoModelForCausalLM.from_pretrained(policy.folder, dtype=dtype).eval()
    policy.tokens.tokenizer.enable_padding(direction="left", pad_id=policy.tokens.pad)
    batch = policy.tokens.tokenizer.encode_batch([ways.prompt(number) for number in range(rows)])
    ids = torch.tensor([each.ids for each in batch])
    mask = torch.tensor([each.attention_mask for each in batch])
    if int(ids.max()) >= model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(int(ids.max()) + 1, mean_resizing=False)
    rate, drawn = Rate(), {"max_new_tokens": ways.tokens, "min_new_tokens": ways.tokens}
    for _ in range(repeats + 1):
        wall, processor = time.perf_counter(), time.process_time()
        with torch.no_grad():
            model.generate(ids, attention_mask=mask, do_sample=False, **drawn)
        taken = time.perf_counter() - wall, time.process_time() - processor
        rate.add(rows * ways.tokens, *taken)
    return Rate(rate.wall[1:], rate.processor[1:]).middle()


@dataclass
class Swapped:
    """What became of the requests while versions came and went."""

    swaps: int = 0
    requests: int = 0
    failed: int = 0
    wrong: int = 0  # answers that are more like those of another version
    visible: list[float] = field(default_factory=list)  # seconds

    def summary(self) -> dict[str, Any]:
        slowest = {"median": statistics.median(self.visible), "most": max(self.visible)}
        return asdict(self) | {"visible": slowest}


def adapters(model: str, folder: Path, count: int = 2) -> list[Path]:
    """Adapters with random weights, far enough from each other to be told apart."""
    made = []
    for number in range(count):
        policy = Policy.load(model, lora=Lora(rank=8, alpha=16.0))
        generator = torch.Generator().manual_seed(number)
        for weight in policy.trainable():
            weight.data.add_(torch.randn(weight.shape, generator=generator) * 0.05)
        policy.save_adapter(folder / str(number))
        made.append(folder / str(number))
    return made


async def swapped(engine: LocalEngine, ways: Ways, folders: list[Path], args: Any) -> Swapped:
    """Versions one after the other, named by their number, their adapters by turns."""
    known: dict[tuple[int, int], str] = {}
    for place, folder in enumerate(folders):
        await engine.load(f"alone@{place}", folder)
        for number in range(args.questions):
            found = await written(engine, ways.job(number, f"alone@{place}"))
            known[place, number] = found.text
    state, serving, ends = Swapped(), [f"alone@{len(folders) - 1}"], asyncio.Event()

    async def asks(number: int) -> None:
        while not ends.is_set():
            version = serving[-1]
            number = (number + 1) % args.questions
            state.requests += 1
            try:
                found = await written(engine, ways.job(number, version))
            except Exception as error:
                print(f"{version}: {error}", file=sys.stderr)
                state.failed += 1
                continue
            if args.show:
                print(version, number, repr(found.text), [known[e, number] for e in (0, 1)])
            place = int(version.partition("@")[2]) % len(folders)
            alike = [
                common(found.text.encode(), known[each, number].encode())
                for each in range(len(folders))
            ]
            state.wrong += found.version != version or alike[place] < max(alike)

    going = [asyncio.create_task(asks(number)) for number in range(args.streams)]
    for swap in range(len(folders), len(folders) + args.swaps):
        version, start = f"swap@{swap}", time.perf_counter()
        await engine.load(version, folders[swap % len(folders)])
        serving.append(version)
        async for _ in engine.write(ways.job(0, version)):
            break
        state.visible.append(time.perf_counter() - start)
        state.swaps += 1
        await engine.unload(serving[-2])
    ends.set()
    await asyncio.gather(*going)
    return state


async def run(args: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(args.threads)
    bf16 = chosen_bf16(parameters_of(args.model), "cpu") if args.bf16 is None else args.bf16
    # One more than streams: somebody asks for a new version at once.
    options = EngineOptions(rows=args.streams + 1, waiting=4 * args.streams)
    engine = LocalEngine(build_base(Policy.load(args.model, bf16=bf16), options), "base@0", options)
    ways = Ways("base@0", args.tokens, args.shared)
    found: dict[str, Any] = {"streams": args.streams, "tokens": args.tokens, "bf16": bf16}
    found |= {"threads": args.threads, "shared": args.shared}
    found["engine"] = await measured(engine, ways, args.streams, args.repeats)
    if args.reference:
        policy = Policy.load(args.model, bf16=bf16)
        sides = {"one": 1, "many": args.streams}
        found["transformers"] = {
            side: generated(policy, ways, rows, args.repeats) for side, rows in sides.items()
        }
    if args.swaps:
        with tempfile.TemporaryDirectory() as folder:
            folders = adapters(args.model, Path(folder))
            state = await swapped(engine, ways, folders, args)
        found["swaps"] = state.summary()
    await engine.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="tiny", help="a name of the hub, a folder, or tiny")
    parser.add_argument("--name", help="how a folder is called in the results")
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--shared", type=int, default=0, help="words that prompts begin with")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--swaps", type=int, default=100, help="0: none")
    parser.add_argument("--questions", type=int, default=4, help="different ones under swaps")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, help="else as the machine")
    parser.add_argument("--reference", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--show", action="store_true", help="answers under swaps")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "engine.json")
    args = parser.parse_args()
    found = asyncio.run(run(args))
    name = args.name or args.model
    kept = json.loads(args.out.read_text()) if args.out.is_file() else {}
    command = "python bench/engine.py " + " ".join(sys.argv[1:])
    machine = environment() | {"machine": platform.machine()}
    kept[name] = found | {"environment": machine, "command": command}
    args.out.write_text(json.dumps(kept, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    engine = found["engine"]
    print(
        f"{name}: {args.streams} streams write {engine['ratio']['wall']:.1f} times as fast as one"
    )


if __name__ == "__main__":
    main()
