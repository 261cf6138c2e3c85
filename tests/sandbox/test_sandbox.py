"""What the sandbox says of programs that mean no harm, and of its own failures."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sandbox.conftest import LIMITS
from tests.sandbox.outside import descendants
from understudy.errors import SandboxError
from understudy.sandbox import Case, Limits, Program, Sandbox, Verdict
from understudy.sandbox.sandbox import Server

ADD = "def add(a, b):\n    return a + b\n"


def judged(sandbox: Sandbox, source: str, *tests: str, **more: object) -> Verdict:
    return sandbox.run(Program(source, tests=tests, **more))  # type: ignore[arg-type]


# Tests.


def test_a_right_program_passes(sandbox: Sandbox) -> None:
    verdict = judged(sandbox, ADD, "assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'")
    assert (verdict.passed, verdict.outcome, verdict.share) == (True, "passed", 1.0)
    assert 0 < verdict.seconds < LIMITS.wall


def test_the_share_is_that_of_the_tests_that_passed(sandbox: Sandbox) -> None:
    tests = [f"assert add({i}, 1) == {3 if i == 2 else 0}" for i in range(4)]
    verdict = judged(sandbox, ADD, *tests)
    assert (verdict.passed, verdict.outcome, verdict.share) == (False, "failed", 0.25)
    assert verdict.detail == "wrong: assert add(0, 1) == 0"


@pytest.mark.parametrize(
    ("source", "outcome", "says"),
    [
        ("def add(a, b): return 1 / 0", "error", "ZeroDivisionError"),
        ("def add(a, b)", "error", "SyntaxError"),
        ("def plus(a, b): return a + b", "error", "NameError"),
        ("import nothing_of_that_name", "error", "ModuleNotFoundError"),
        ("class Odd(Exception): pass\ndef add(a, b): raise Odd('so')", "error", "Odd: so"),
        ("def add(a, b): return bytearray(1 << 40)", "memory", "MemoryError"),
        ("def add(a, b):\n  while True: pass", "timeout", ""),
        ("import os\ndef add(a, b): os.abort()", "crashed", "died of SIG"),
        ("def add(a, b): return 'x' * 100_000", "output", "65536 bytes"),
    ],
)
def test_what_went_wrong_is_told(sandbox: Sandbox, source: str, outcome: str, says: str) -> None:
    verdict = judged(sandbox, source, "assert add(1, 2) == 3")
    assert (verdict.passed, verdict.outcome) == (False, outcome), verdict
    assert says in verdict.detail


def test_the_end_of_an_iterator_does_not_end_the_cases_of_a_test(sandbox: Sandbox) -> None:
    test = "assert all(map(lambda case: f(case) == case, [1, 2]))"
    assert judged(sandbox, "def f(x): return x", test).passed
    verdict = judged(sandbox, "def f(x): raise StopIteration", test)
    assert (verdict.passed, verdict.outcome) == (False, "error")
    numbers = "def f():\n    yield 1\n    yield 2\n"
    assert judged(
        sandbox, numbers, "assert list(f()) == [1, 2]", "g = f()\nnext(g)\nassert next(g, 0) == 2"
    ).passed


def test_setup_runs_beside_the_tests_and_hides_names_of_the_program(sandbox: Sandbox) -> None:
    setup = "import itertools\ndef expected(a, b):\n    return a + b\n"
    source = ADD + "def expected(a, b): return 'whatever it is'\n"
    test = "assert all(add(a, b) == expected(a, b) for a, b in itertools.product(range(3), [4]))"
    assert judged(sandbox, source, test, setup=setup).passed
    assert not judged(sandbox, source.replace("a + b", "a"), test, setup=setup).passed


def test_a_name_of_pythons_own_counts_only_as_an_entry(sandbox: Sandbox) -> None:
    """`sorted` of the tests is Python's, unless the program was asked for a `sorted`."""
    source = "def sorted(values): return 'mine'\ndef plain(x): return x\n"
    test = "assert sorted(plain([2, 1])) == 'mine'"
    assert not judged(sandbox, source, test).passed
    assert judged(sandbox, source, test, entry=["sorted"]).passed
    assert judged(sandbox, source, "assert sorted([2, 1]) == 'mine'").passed  # nothing else is used


def test_arguments_that_are_changed_in_place_are_seen(sandbox: Sandbox) -> None:
    source = (
        "def fill(a, b, c):\n  a.sort()\n  b['x'] = 1\n  c.add(5)\n"
        "class Point:\n  def __init__(self, x): self.x = x\n"
        "  def __eq__(self, other): return self.x == other.x\n"
        "def move(p): p.x += 1; return p\n"
    )
    same = "a, b, c = [2, 1], {}, set()\nassert fill(a, b, c) is None\n"
    same += "assert (a, b, c) == ([1, 2], {'x': 1}, {5})"
    objects = "p = Point(1)\nassert move(p) is p\nassert p.x == 2 and p == Point(2) and p != 2"
    assert judged(sandbox, source, same, objects).passed


def test_plain_data_of_every_kind_crosses(sandbox: Sandbox) -> None:
    values = [
        *("None", "True", "-3", "10**400", "0.1", "float('inf')", "'é\\ud800'", "b'\\xff'"),
        *("[1, [2]]", "(1, (2,))", "{1: {'a': 2}}", "{1, 2}", "frozenset([1])", "2j"),
        *("Fraction(1, 3)", "Decimal('1.10')", "deque([1])", "range(2, 9, 3)", "bytearray(b'x')"),
        *("date(2020, 1, 2)", "datetime(2020, 1, 2, 3)", "timedelta(1, 2)", "int", "[str, set]"),
    ]
    imports = "from fractions import Fraction\nfrom decimal import Decimal\n"
    imports += "from collections import deque\nfrom datetime import date, datetime, timedelta\n"
    tests = [f"v = same({v})\nassert v == {v} and type(v) is type({v})" for v in values]
    verdict = judged(sandbox, "def same(x): return x", *tests, setup=imports)
    assert verdict.passed, verdict


def test_functions_generators_and_exceptions_work_across(sandbox: Sandbox) -> None:
    source = (
        "def apply(f, values): return [f(v) for v in values]\n"
        "def count():\n  n = 0\n  while True:\n    yield n\n    n += 1\n"
        "def adder(n): return lambda x: x + n\n"
        "def refuse(x): raise ValueError(f'no {x}')\n"
    )
    raises = "try:\n  refuse(3)\nexcept ValueError as e:\n  assert str(e) == 'no 3'\n"
    verdict = judged(
        sandbox,
        source,
        "assert apply(lambda v: v * 10, [1, 2]) == [10, 20]",
        "from itertools import islice\nassert list(islice(count(), 3)) == [0, 1, 2]",
        "assert adder(2)(3) == 5 and callable(adder(1))",
        raises + "else:\n  assert False",
    )
    assert verdict.passed, verdict


def test_what_a_program_prints_is_kept_and_is_no_answer(sandbox: Sandbox) -> None:
    verdict = judged(sandbox, ADD + "print('hello')", "assert add(1, 2) == 3")
    assert (verdict.passed, verdict.stdout) == (True, "hello\n")


def test_a_test_that_is_no_python_is_no_fault_of_the_programs(sandbox: Sandbox) -> None:
    verdict = judged(sandbox, ADD, "assert add(")
    assert (verdict.passed, verdict.outcome) == (None, "sandbox")
    assert "no Python" in verdict.detail


# Cases.


def test_cases_are_stdin_and_stdout(sandbox: Sandbox) -> None:
    program = Program(
        "import sys\nfor line in sys.stdin: print(2 * int(line))\nsys.exit()\n",
        cases=[Case("1\n2\n", "2\n4"), Case("", ""), Case("21", " 42 \n")],
    )
    verdict = sandbox.run(program)
    assert (verdict.passed, verdict.share, verdict.stdout) == (True, 1.0, "42\n")


def test_the_first_wrong_case_is_told(sandbox: Sandbox) -> None:
    cases = [Case("1", "1"), Case("2", "4"), Case("0", "0"), Case("x", "1")]
    verdict = sandbox.run(Program("print(int(input()))", cases=cases))
    assert (verdict.passed, verdict.outcome, verdict.share) == (False, "failed", 0.5)
    assert verdict.detail == "case 2: expected '4', printed '2'"
    assert verdict.stdout == "2\n"


@pytest.mark.parametrize(
    ("source", "outcome", "says"),
    [
        ("print(5); 1 / 0", "error", "ZeroDivisionError"),
        ("print(5); raise SystemExit(3)", "error", "status 3"),
        ("print(5); raise SystemExit('so it ends')", "error", "so it ends"),
        ("print(5)\nwhile True: pass", "timeout", ""),
        ("import os\nprint(5, flush=True)\nos.kill(os.getpid(), 11)\nos.abort()", "crashed", "SIG"),
        ("while True: print(5)", "output", "65536 bytes"),
        ("x = []\nwhile True: x.append(bytes(1 << 26))", "memory", "MemoryError"),
    ],
)
def test_what_went_wrong_with_a_case_is_told(
    sandbox: Sandbox, source: str, outcome: str, says: str
) -> None:
    verdict = sandbox.run(Program(source, cases=[Case("", "5")]))
    assert (verdict.passed, verdict.outcome) == (False, outcome), verdict
    assert says in verdict.detail


# The sandbox itself.


def test_verdicts_come_in_the_order_of_the_programs(sandbox: Sandbox) -> None:
    sources = [f"import time\ntime.sleep({i % 3 / 10})\ndef me(): return {i}" for i in range(9)]
    tests = [f"assert me() == {i if i % 2 else -1}" for i in range(9)]
    programs = [Program(s, tests=[t]) for s, t in zip(sources, tests, strict=True)]
    assert [verdict.passed for verdict in sandbox.run_all(programs)] == [
        i % 2 == 1 for i in range(9)
    ]
    assert sandbox.run_all([]) == []


def test_a_program_is_judged_alike_every_time(sandbox: Sandbox) -> None:
    """Neither what ran before it nor the luck of a start enters."""
    source = "import random\ndef luck(): return [random.random(), hash('x'), [*{'a', 'b', 'c'}]]"
    shown = Program(source + "\nprint(luck())", tests=["assert luck() == 0"])
    assert len({verdict.stdout for verdict in sandbox.run_all([shown] * 4)}) == 1


@pytest.mark.parametrize("as_root", [False, pytest.param(True, id="as root")])
def test_it_confines_for_root_and_for_others(walls: None, as_root: bool) -> None:
    if as_root and os.geteuid():
        pytest.skip("these tests are not run by root")
    server = Server(Limits(seconds=30.0, wall=90.0), unsafe=False, as_root=as_root)
    try:
        program = Program(
            ADD + "import os\ndef me(): return os.getuid()", tests=["assert me() == 1000"]
        )
        assert server.judge(program).passed
    finally:
        server.close()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("seconds", 0, "seconds=0 leaves a program nothing"),
        ("memory", -1, "memory=-1 leaves a program nothing"),
        ("files", 8, "use at least 16"),
    ],
)
def test_limits_that_leave_nothing_are_refused(name: str, value: int, says: str) -> None:
    with pytest.raises(SandboxError, match=says):
        replace(Limits(), **{name: value})  # type: ignore[arg-type]


def test_a_program_needs_tests_or_cases_but_not_both() -> None:
    with pytest.raises(SandboxError, match="neither"):
        Program(ADD)
    with pytest.raises(SandboxError, match="both"):
        Program(ADD, tests=["assert add"], cases=[Case("", "")])
    with pytest.raises(SandboxError, match="list of tests"):
        Program(ADD, tests="assert add")


def test_no_worker_is_refused() -> None:
    with pytest.raises(SandboxError, match="workers=0"):
        Sandbox(workers=0)


def test_it_must_be_open() -> None:
    with pytest.raises(SandboxError, match="with"):
        Sandbox().run(Program(ADD, tests=["assert add"]))


def test_without_bubblewrap_it_refuses_in_one_line_that_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError) as caught, Sandbox():
        pass
    said = str(caught.value)
    assert "\n" not in said
    assert "there is no `bwrap` here; install the package bubblewrap" in said
    assert "sandbox.allow_unsafe_code=true" in said


def test_a_bubblewrap_that_cannot_confine_is_refused_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: no namespaces for you' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SandboxError, match=r"no namespaces for you.*allow_unsafe_code"), Sandbox():
        pass


def test_unsafe_mode_warns_and_still_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    before = descendants()
    monkeypatch.setenv("PATH", "")
    programs = [
        Program(ADD, tests=["assert add(1, 2) == 3"]),
        Program(ADD, tests=["assert add(1, 2) == 4"]),
        Program("while True: pass", tests=["assert add(1, 2) == 3"]),
        Program("x = bytearray(1 << 40)", tests=["assert add(1, 2) == 3"]),
        Program("print(input()[::-1])", cases=[Case("ab", "ba")]),
    ]
    few = replace(LIMITS, seconds=1.0, wall=120.0)  # so that the processor's limit comes first
    unsafe = Sandbox(workers=1, limits=few, unsafe=True)
    with pytest.warns(RuntimeWarning, match="WITHOUT a sandbox"):
        unsafe.__enter__()
    try:
        verdicts = unsafe.run_all(programs)
    finally:
        unsafe.__exit__(None, None, None)
    assert [v.outcome for v in verdicts] == ["passed", "failed", "timeout", "memory", "passed"]
    assert "SIGXCPU" in verdicts[2].detail
    assert descendants() <= before


@contextmanager
def killing(spared: set[int], times: int) -> Iterator[None]:
    """Kill this process's others from outside, so often or until what is judged is judged."""
    done = threading.Event()

    def kill() -> None:
        for _ in range(times):
            while not done.is_set() and not descendants() - spared:
                time.sleep(0.05)
            if done.wait(0.5):
                return
            others = descendants() - spared
            for sign in (signal.SIGSTOP, signal.SIGKILL):  # none sees another die
                for pid in others:
                    with contextlib.suppress(ProcessLookupError):  # it died with the one before it
                        os.kill(pid, sign)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_server_that_died_is_replaced(walls: None) -> None:
    slow = Program("import time\ntime.sleep(4)\ndef f(): return 1", tests=["assert f() == 1"])
    before = descendants()
    with Sandbox(workers=1, limits=replace(LIMITS, wall=40.0)) as sandbox:
        with killing(before, times=1):
            assert sandbox.run(slow).passed  # by the second server
        with killing(before, times=1000):
            verdict = sandbox.run(slow)
        assert (verdict.passed, verdict.outcome) == (None, "sandbox")
        assert "died" in verdict.detail
        assert sandbox.run(slow).passed


def test_closing_ends_every_process_and_it_opens_again(walls: None) -> None:
    sandbox, before = Sandbox(workers=2, limits=LIMITS), descendants()
    program = Program(ADD, tests=["assert add(1, 2) == 3"])
    for _ in range(2):
        with sandbox:
            assert sandbox.run(program).passed
            assert descendants() - before
        assert descendants() <= before
        with pytest.raises(SandboxError, match="not open"):
            sandbox.run(program)
