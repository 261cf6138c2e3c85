"""Programs judged per second: the sandbox beside one bubblewrap for each check.

    python bench/sandbox.py [--data FOLDER]

Both sides judge the same right programs of MBPP's kind, with three asserts each, two at a time,
and take turns within one run. The other side is what is written first: `bwrap ... python -c`
with the program and its asserts in one text. It keeps fewer promises: the program shares a process
with its tests, and nothing bounds its memory or its processes. Its Python starts bare (-I -S).

With --data, the published solutions of MBPP and HumanEval that stand in its folders `mbpp` and
`humaneval` are judged as well, each of which should pass.

Seconds are wall-clock; the processor's own seconds, those of all processes of a side, stand
beside them, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from understudy.environment import environment
from understudy.sandbox import Limits, Program, Sandbox
from understudy.sandbox.bubblewrap import base_python
from understudy.tasks.data import DataConfig, load_data
from understudy.tasks.extract import program_in
from understudy.tasks.judge import program_of

ROOT = Path(__file__).resolve().parents[1]
Row = dict[str, Any]

WALLS = "--unshare-all --die-with-parent --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp"

# Sources with what three calls of `f` give.
HONEST: list[tuple[str, dict[str, str]]] = [
    (
        "def f(numbers):\n    return sorted(set(numbers))[-2]\n",
        {"[1, 5, 3]": "3", "[9, 9, 2]": "2", "[-1, -4, -3]": "-3"},
    ),
    (
        "import re\ndef f(text):\n    return re.findall(r'[A-Z][a-z]+', text)\n",
        {"'OneTwo'": "['One', 'Two']", "'x'": "[]", "'aBc De'": "['Bc', 'De']"},
    ),
    (
        "def f(n):\n    return n > 1 and all(n % i for i in range(2, int(n ** 0.5) + 1))\n",
        {"7": "True", "91": "False", "1": "False"},
    ),
    (
        "from collections import Counter\n"
        "def f(words):\n    return dict(Counter(words).most_common(2))\n",
        {"['a', 'b', 'a']": "{'a': 2, 'b': 1}", "[]": "{}", "['x']": "{'x': 1}"},
    ),
    (
        "import math\ndef f(a, b):\n    return math.gcd(a, b), a * b // math.gcd(a, b)\n",
        {"4, 6": "(2, 12)", "3, 5": "(1, 15)", "10, 10": "(10, 10)"},
    ),
    (
        "def f(rows):\n    return [list(column) for column in zip(*rows)]\n",
        {"[[1, 2], [3, 4]]": "[[1, 3], [2, 4]]", "[]": "[]", "[[1], [2]]": "[[1, 2]]"},
    ),
]


def honest(count: int) -> list[Program]:
    given = [HONEST[i % len(HONEST)] for i in range(count)]
    return [
        Program(source, tests=[f"assert f({x}) == {y}" for x, y in calls.items()])
        for source, calls in given
    ]


def one_by_one(programs: Sequence[Program], workers: int) -> list[bool]:
    """A bubblewrap for each check."""
    command = ["bwrap", *WALLS.split(), base_python(), "-I", "-S", "-c"]

    def check(program: Program) -> bool:
        text = "\n".join([program.source, program.setup, *program.tests])
        return not subprocess.run([*command, text], capture_output=True, timeout=120).returncode

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(check, programs))


def processor_seconds() -> float:
    """Of this process, of those that it has waited for, and of those that run below it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    below = 0
    for listed in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = listed.read_text().rpartition(")")[2].split()
            if is_below(int(fields[1])):
                below += sum(map(int, fields[11:15]))
        except OSError:  # it has just ended
            continue
    waited = used.ru_utime + used.ru_stime
    return time.process_time() + waited + below / os.sysconf("SC_CLK_TCK")


def is_below(pid: int) -> bool:
    while pid > 1 and pid != os.getpid():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid == os.getpid()


def timed(check: Callable[[Sequence[Program]], list[bool]], count: int) -> Row:
    programs = honest(count)
    wall, processor = time.perf_counter(), processor_seconds()
    passed = check(programs)
    row = {
        "checks": count,
        "seconds": time.perf_counter() - wall,
        "processor_seconds": processor_seconds() - processor,
    }
    if not all(passed):
        raise SystemExit(f"only {sum(passed)} of {count} right programs passed: no figure is given")
    return row


def compare(args: argparse.Namespace) -> Row:
    """Both sides in turns; the median round after one to warm up."""
    rounds: dict[str, list[Row]] = {"sandbox": [], "one_by_one": []}
    with Sandbox(args.workers, Limits(seconds=30.0, wall=120.0)) as sandbox:

        def ours(programs: Sequence[Program]) -> list[bool]:
            return [verdict.passed is True for verdict in sandbox.run_all(programs)]

        def theirs(programs: Sequence[Program]) -> list[bool]:
            return one_by_one(programs, args.workers)

        for _ in range(args.rounds + 1):
            rounds["sandbox"].append(timed(ours, args.checks))
            rounds["one_by_one"].append(timed(theirs, args.checks))
    sides = {name: summary(rows[1:]) for name, rows in rounds.items()}
    return {
        **sides,
        "ratio": ratio(sides, "checks_per_second"),
        "ratio_of_processor_time": ratio(sides, "checks_per_processor_second"),
    }


def summary(rows: list[Row]) -> Row:
    return {
        "checks_per_second": statistics.median(r["checks"] / r["seconds"] for r in rows),
        "checks_per_processor_second": statistics.median(
            r["checks"] / r["processor_seconds"] for r in rows
        ),
        "rounds": rows,
    }


def ratio(sides: dict[str, Row], name: str) -> float:
    return float(sides["sandbox"][name] / sides["one_by_one"][name])


def published(folder: Path, name: str, workers: int) -> Row:
    """How many of a set's own solutions pass its own tests, and what became of the others."""
    data = load_data(name, DataConfig(path=str(folder / name)))
    problems = [problem for part in data.questions.values() for problem in part]
    programs = [program_of(problem, program_in(problem.worked) or "") for problem in problems]
    started = time.perf_counter()
    with Sandbox(workers, Limits(seconds=30.0, wall=120.0)) as sandbox:
        verdicts = sandbox.run_all(programs)
    failed = {
        str(problem.columns["task_id"]): f"{verdict.outcome}: {verdict.detail}"
        for problem, verdict in zip(problems, verdicts, strict=True)
        if not verdict.passed
    }
    seconds = time.perf_counter() - started
    return {
        "solutions": len(programs),
        "passed": len(programs) - len(failed),
        "checks_per_second": len(programs) / seconds,
        "not_passed": failed,
    }


def shown(result: Row) -> str:
    lines = []
    for name in ("sandbox", "one_by_one"):
        side = result[name]
        lines.append(
            f"  {name:12} {side['checks_per_second']:7.1f} checks/s  "
            f"{side['checks_per_processor_second']:7.1f} per processor second"
        )
    ratios = f"{result['ratio']:.1f} (processor time {result['ratio_of_processor_time']:.1f})"
    return "\n".join([*lines, f"  ratio {ratios}"])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a folder that holds `mbpp` and `humaneval`")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--checks", type=int, default=120, help="a round of each side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/sandbox.json")
    return parser.parse_args()


def main() -> None:
    args = parsed()
    result = compare(args)
    print(shown(result), flush=True)
    solutions: Row = {}
    for name in ("mbpp", "humaneval") if args.data else ():
        solutions[name] = found = published(args.data, name, args.workers)
        print(f"  {name}: {found['passed']} of {found['solutions']} published solutions pass")
        print("".join(f"    {task}: {why}\n" for task, why in found["not_passed"].items()), end="")
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    given = ["--data FOLDER"] if args.data else []
    for name, default in (("workers", 2), ("checks", 120), ("rounds", 5)):
        if getattr(args, name) != default:
            given.append(f"--{name} {getattr(args, name)}")
    record = {
        "command": " ".join(["python", "bench/sandbox.py", *given]),
        "commit": commit.stdout.strip(),
        "settings": {name: getattr(args, name) for name in ("workers", "checks", "rounds")},
        "load_average": os.getloadavg(),
        "environment": environment() | {"platform": f"{platform.system()} {platform.machine()}"},
        "result": result,
        "published": solutions,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
