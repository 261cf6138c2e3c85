"""The rules of the house, read off the source of every module."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from itertools import chain
from pathlib import Path

import pytest

# From the top of the house to the bottom. A module imports from its own room and from rooms below.
ROOMS = [
    "cli",  # the verbs: parse, call, print
    "api",  # the Python face
    "gateway",  # one HTTP endpoint: the local model first, the cloud within a budget
    "init",  # a first config: for what was looked at, or a template
    "integrations",  # the dual advantage inside trainers of others
    "recipes",  # one readable run per file
    "report",  # a run directory becomes tables, plots and a page
    "offload",  # the loop: who answers, who asks, what is learned
    "share",  # agents on a graph: what they send each other, and learn
    "federate",  # clients around a server: a small model each steers a frozen large one
    "actors",  # the engine of what exchanges messages in rounds: one process, workers, Flower
    "retention",  # what holds old skill while new work is learnt
    "routing",  # who decides which question leaves
    "store",  # what must survive a crash: ledger, events, keys, versions
    "models",  # who answers
    "clouds",  # who helps
    "tasks",  # what is asked, and how an answer is checked
    "sandbox",  # where code that a model wrote is run
    "link",  # what crossing costs
    "trackers",  # where else the numbers of a run are shown
    "run",  # the run directory
    "objectives",  # pure functions over tensors
    "metrics",  # pure functions over arrays
    "environment",  # the versions and the machine that results depend on
    "files",  # atomic writes
    "plain",  # dataclasses as plain values, and back
    "progress",  # long work says how far it has come
    "waiting",  # coroutines, for code that is not asynchronous
    "settings",  # settings of any part: checked, described
    "given",  # settings as they are given: defaults, files, overrides
    "registry",  # what is found by name, ours and a stranger's
    "types",  # plain frozen records
    "interrupt",  # Ctrl-C
    "errors",  # what a user can mend
]

# Rooms that may import less than the order allows them.
ONLY = {
    "models": {"objectives", "progress", "settings", "registry", "files", "types", "errors"},
    "objectives": {"types"},
    "metrics": {"types"},
    "types": set(),
    "errors": set(),
}

# Rooms of mathematics import nothing from outside but these and the standard library.
PURE = {"objectives", "metrics"}
NUMERIC = {"torch", "numpy"}

# Rooms that may not import these, though they lie below: loops do not import each other.
APART = {"share": {"federate"}}

# Rooms that only these may import; everyone else is imported, never imports, from above.
IMPORTERS = {
    "cli": {"__main__"},
    "api": {"cli", ""},
    "recipes": {"cli", "api", "gateway", "init"},
    "interrupt": {"__main__", "cli"},
}

# `understudy --help` answers at once, so the command line loads these only when a verb needs them.
HEAVY = {"torch", "transformers", "matplotlib", "numpy"}

LONGEST_FILE = 400
LONGEST_FUNCTION = 60

# A path of one machine means nothing on another. (The path of a URL is not meant.)
MACHINE_PATH = re.compile(rb"(?<![\w.~)}-])/(?:work|root|home|Users|opt)/")

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "understudy"

Function = ast.FunctionDef | ast.AsyncFunctionDef


def room_of(name: str) -> str:
    """The room of a dotted name; the package itself, which holds a version only, has none: ''."""
    return name.removeprefix(PACKAGE).lstrip(".").partition(".")[0]


def is_ours(name: str) -> bool:
    return name.partition(".")[0] == PACKAGE


@dataclass(frozen=True)
class Module:
    path: Path

    @cached_property
    def name(self) -> str:
        return ".".join(self.path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")

    @cached_property
    def source(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, str(self.path))

    @property
    def room(self) -> str:
        return room_of(self.name)

    def at(self, node: Function) -> str:
        return f"{self.path.relative_to(ROOT)}:{node.lineno} {node.name}"

    def imports(self) -> Iterator[str]:
        """Dotted names of the modules imported anywhere in the file, inside functions too."""
        package = self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                source = resolve_name("." * node.level + (node.module or ""), package)
                for alias in node.names:
                    submodule = f"{source}.{alias.name}"
                    yield submodule if submodule in NAMES else source

    def functions(self) -> Iterator[Function]:
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def public_functions(self) -> Iterator[Function]:
        """Functions of the module and methods of its classes; not those nested in functions."""
        classes = (node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef))
        for node in chain(self.tree.body, *(each.body for each in classes)):
            if isinstance(node, Function) and not node.name.startswith("_"):
                yield node


MODULES = [Module(path) for path in sorted((ROOT / PACKAGE).rglob("*.py"))]
NAMES = {module.name for module in MODULES}


def may_import(room: str, other: str) -> bool:
    if other in ("", room):
        return True
    if room in ("", "__main__"):
        return room in IMPORTERS.get(other, set())
    if other not in ROOMS or other in APART.get(room, set()):
        return False
    return ROOMS.index(other) > ROOMS.index(room) and other in ONLY.get(room, ROOMS)


def test_every_module_is_in_a_known_room() -> None:
    assert MODULES
    assert {module.room for module in MODULES} - {"", "__main__"} <= set(ROOMS)


def test_imports_point_downward_only() -> None:
    assert [
        f"{module.name} imports {name}"
        for module in MODULES
        for name in module.imports()
        if is_ours(name) and not may_import(module.room, room_of(name))
    ] == []


@pytest.mark.parametrize("room", IMPORTERS)
def test_the_top_of_the_house_is_imported_by_its_door_alone(room: str) -> None:
    importers = {
        module.room
        for module in MODULES
        if any(is_ours(name) and room_of(name) == room for name in module.imports())
    }
    assert importers - {room} <= IMPORTERS[room]


def test_mathematics_imports_only_torch_numpy_and_the_standard_library() -> None:
    allowed = NUMERIC | sys.stdlib_module_names
    assert [
        f"{module.name} imports {name}"
        for module in MODULES
        if module.room in PURE
        for name in module.imports()
        if not is_ours(name) and name.partition(".")[0] not in allowed
    ] == []


def test_no_import_goes_in_a_circle() -> None:
    graph = {module.name: set(module.imports()) & NAMES for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_line_loads_nothing_heavy() -> None:
    loaded = python("-c", f"import sys, {PACKAGE}.cli; print(*sys.modules)").split()
    assert f"{PACKAGE}.cli" in loaded
    assert HEAVY & set(loaded) == set()


def test_settings_of_every_kind_are_read_without_anything_heavy() -> None:
    """A recipe's help, its plan and a mistyped setting answer at once."""
    script = (
        f"import sys; from {PACKAGE} import recipes; from {PACKAGE}.settings import "
        "described_settings; "
        "[described_settings(recipes.load_method(name).Settings) for name in recipes.RECIPES]; "
        "[recipes.resolve_config(name, None, []) for name in recipes.RECIPES]; "
        "print(*sys.modules)"
    )
    assert HEAVY & set(python("-c", script).split()) == set()


def test_the_package_runs_as_a_module() -> None:
    assert "Usage" in python("-m", PACKAGE, "--help")


def test_every_public_function_is_annotated() -> None:
    def is_annotated(function: Function) -> bool:
        given = function.args
        named = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        return function.returns is not None and all(
            argument.annotation
            for argument in named
            if argument is not None and argument.arg not in ("self", "cls")
        )

    assert [
        module.at(function)
        for module in MODULES
        for function in module.public_functions()
        if not is_annotated(function)
    ] == []


def test_files_and_functions_stay_short() -> None:
    long_files = [
        f"{module.name}: {lines} lines"
        for module in MODULES
        if (lines := len(module.source.splitlines())) > LONGEST_FILE
    ]
    long_functions = [
        f"{module.at(function)}: {lines} lines"
        for module in MODULES
        for function in module.functions()
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > LONGEST_FUNCTION
    ]
    assert long_files + long_functions == []


def test_no_tracked_file_names_a_path_of_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("not a git checkout, so no file is tracked")
    tracked = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked
        if path.is_file()
        for number, line in enumerate(path.read_bytes().split(b"\n"), start=1)
        if MACHINE_PATH.search(line)
    ] == []
