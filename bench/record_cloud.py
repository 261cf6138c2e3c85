"""Ask a cloud every question of a configuration's data sets once, and keep the replies.

    python bench/record_cloud.py --config real.yaml --out replies.jsonl.gz --max-dollars 2
    understudy train understudy --config real.yaml --out runs/a \\
        --set cloud='{kind: recorded, files: [replies.jsonl.gz]}'

The configuration is that of a run: `cloud` is who is asked, `data` what. `--dry-run` says how many
questions there are and makes no call. What the file holds already is not asked again, so a
recording that was stopped, killed or met its cap goes on with the same command; until it ends its
replies are in FILE.log. A call that failed is made again by the next command. Caps count what the
file has cost before. At the end stands how many answers are right, by data set and split.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from understudy.clouds.building import build_budget, build_cloud
from understudy.clouds.failures import FailureWatch
from understudy.clouds.metered import MeteredCloud
from understudy.clouds.record import RecordedReply, compressed, line_of, read_record
from understudy.environment import environment
from understudy.errors import ConfigError, UnderstudyError
from understudy.files import write_json
from understudy.link import Budget, ReplyLog
from understudy.metrics import constant_accuracy, macro_f1
from understudy.progress import task
from understudy.recipes import resolve_config
from understudy.report.screen import screen_on
from understudy.settings import Section
from understudy.tasks import DataSet, Tasks, open_tasks
from understudy.types import Problem

SPLITS = ("train", "validation", "test")
AT_ONCE = 64  # calls, before progress is shown


@dataclass(frozen=True)
class Part:
    """The questions of one split of a data set."""

    name: str
    split: str
    problems: tuple[Problem, ...]


def parts_of(tasks: Tasks, only: Sequence[str], splits: Sequence[str], most: int) -> list[Part]:
    """most: questions of each part at most, the first ones in an order that does not depend on
    the data's; 0: all."""
    sets = {name: each for name, each in tasks.families.items() if isinstance(each, DataSet)}
    if unknown := [name for name in only if name not in sets]:
        raise ConfigError(f"--only {unknown[0]}: the configuration's data are {', '.join(sets)}")
    if not sets:
        raise ConfigError("the configuration has no data; generated questions are not recorded")
    return [
        Part(name, split, _first(each.questions[split], most))
        for name, each in sets.items()
        if not only or name in only
        for split in SPLITS
        if split in splits and each.questions[split]
    ]


def _first(problems: Sequence[Problem], most: int) -> tuple[Problem, ...]:
    ordered = sorted(problems, key=lambda problem: problem.question.digest) if most else problems
    return tuple(ordered[: most or None])


def recorded_in(path: Path) -> list[RecordedReply]:
    return list(read_record(path)) if path.exists() else []


def logged_in(path: Path) -> Iterator[RecordedReply]:
    with closing(ReplyLog(path)) as log:
        for entry in log.entries():
            yield RecordedReply(entry.question.digest, entry.question, entry.reply)


def ask(parts: Sequence[Part], cloud: MeteredCloud, done: set[str]) -> str:
    """Ask what is not done; returns why it ended early, or nothing."""
    for part in parts:
        asked = [each.question for each in part.problems if each.question.digest not in done]
        with task(f"asking about {part.name}, {part.split}", len(asked)) as advance:
            for start in range(0, len(asked), AT_ONCE):
                replies = cloud.replies(asked[start : start + AT_ONCE])
                advance(len(replies))
                if refused := next((each for each in replies if not each.called), None):
                    return str(refused.error)
    return ""


def write_record(path: Path, log: Path, bare: bool) -> list[RecordedReply]:
    """The old lines and those of the log in one file; the log goes when that is on disk."""
    replies = [*recorded_in(path), *logged_in(log)]
    if bare:
        replies = [RecordedReply(each.digest, None, each.reply) for each in replies]
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(compressed(path, b"".join(map(line_of, replies))))
    temporary.replace(path)
    log.unlink(missing_ok=True)
    return replies


def figures_of(tasks: Tasks, parts: Sequence[Part], replies: Sequence[RecordedReply]) -> Any:
    """By data set and split: how many are recorded, how many of these are right, what they cost."""
    found = {each.digest: each.reply for each in reversed(replies) if each.reply.error is None}
    rows = []
    for part in parts:
        known = [each for each in part.problems if each.question.digest in found]
        texts = [found[each.question.digest].text or "" for each in known]
        verdicts = tasks.check(known, texts)
        right = sum(verdict is not None and verdict >= 1 for verdict in verdicts)
        costs = [found[each.question.digest] for each in known]
        row = {"data": part.name, "split": part.split, "questions": len(part.problems)}
        row |= {"recorded": len(known), "right": right}
        row |= {"accuracy": right / len(known) if known else None}
        row |= label_figures(tasks, known, texts)
        row |= {"dollars": sum(each.dollars for each in costs)}
        rows.append(row | {"completion_tokens": sum(each.completion_tokens for each in costs)})
    return rows


def label_figures(tasks: Tasks, problems: Sequence[Problem], texts: Sequence[str]) -> Any:
    """Of answers that are labels or choices."""
    labels = [tasks.label(problem) for problem in problems]
    right = [label for label in labels if label is not None]
    if not right or len(right) < len(labels):
        return {"macro_f1": None, "constant": None}
    named = [
        tasks.named_label(problem, text) for problem, text in zip(problems, texts, strict=True)
    ]
    return {"macro_f1": macro_f1(right, named), "constant": constant_accuracy(right)}


def budget_of(settings: Any, log: ReplyLog, before: Sequence[RecordedReply]) -> Budget | None:
    budget = build_budget(settings, [log])
    if budget is not None:
        for each in before:
            budget.charge(each.reply.cost)
    return budget


def record(args: argparse.Namespace) -> None:
    caps = {"cloud.max_calls": args.max_calls, "cloud.max_dollars": args.max_dollars}
    given = [f"{name}={cap}" for name, cap in caps.items() if cap is not None]
    config = resolve_config(args.recipe, args.config, [*args.set, *given])
    log = args.out.with_name(f"{args.out.name}.log")
    unsafe = config.sandbox.allow_unsafe_code
    with closing(open_tasks(config.data, allow_unsafe_code=unsafe)) as tasks:
        parts = parts_of(tasks, args.only, args.splits, args.questions)
        tasks.key.remember([problem for part in parts for problem in part.problems])
        before = recorded_in(args.out)
        done = {each.digest for each in before if each.reply.error is None}
        ended = ""
        if not args.dry_run:
            replies = ReplyLog(log)
            cloud = build_cloud(config.cloud, tasks.key)
            watch = FailureWatch(
                cloud, config.cloud.max_failed_share, warn, "then start the command again"
            )
            budget = budget_of(config.cloud, replies, before)
            try:
                with closing(MeteredCloud(cloud, log=replies, budget=budget, watch=watch)) as asked:
                    ended = ask(parts, asked, done)
            finally:
                before = write_record(args.out, log, args.without_questions)
        show(args, figures_of(tasks, parts, before), config.cloud)
    if ended:
        warn(ended)


def show(args: argparse.Namespace, rows: Any, cloud: Section) -> None:
    for row in rows:
        right = "-" if row["accuracy"] is None else f"{row['accuracy']:.3f} right"
        if row["constant"] is not None:
            right += f" (macro-F1 {row['macro_f1']:.3f}; one label always: {row['constant']:.3f})"
        print(
            f"{row['data']:16} {row['split']:10} {row['recorded']:6} of {row['questions']:6} "
            f"recorded  {right:12} ${row['dollars']:.4f}"
        )
    if args.json is not None:
        cloud_settings = cloud.model_dump(mode="json")
        found = {"environment": environment(), "command": sys.argv, "cloud": cloud_settings}
        write_json(args.json, found | {"rows": rows})


def warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", type=Path, required=True, help="settings of a run: cloud and data")
    add("--out", type=Path, required=True, help="the record; compressed if it ends in .gz")
    add("--recipe", help="of the configuration, where it names none")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting")
    add("--only", nargs="+", default=[], metavar="DATA", help="these data sets")
    add("--splits", nargs="+", choices=SPLITS, default=SPLITS)
    add("--questions", type=int, default=0, help="of each split at most; 0: all")
    add("--max-calls", type=int, help="stop there")
    add("--max-dollars", type=float, help="stop there")
    add("--without-questions", action="store_true", help="keep only the digests of questions")
    add("--json", type=Path, help="write the figures there, too")
    add("--dry-run", action="store_true", help="ask nothing; say what is recorded")
    args = parser.parse_args()
    try:
        with screen_on(Console(stderr=True)):
            record(args)
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on")
    except UnderstudyError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
