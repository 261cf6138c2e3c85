"""What the documentation says of the code, held to the code."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import io
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
import yaml

from bench.tables import RESULTS, filled, pages
from tests.offload.runs import config_of, run_new, saved_model
from tests.share.test_session import SMALL, Quiet
from understudy.cli.program import app
from understudy.cli.settings import settings_page
from understudy.errors import UnderstudyError
from understudy.federate.variants import FederateRun
from understudy.federate.variants import variants_of as federations_of
from understudy.gateway.settings import ServeSettings
from understudy.models.checkpoint import TINY
from understudy.recipes import RECIPES, check_config, resolve_config
from understudy.routing.rows import ExaminedQuestion
from understudy.run import RunDirectory
from understudy.settings import check_settings, resolve_settings
from understudy.share.session import new_share
from understudy.share.variants import ShareRun, variants_of
from understudy.tasks import FAMILIES
from understudy.tasks.stream import load_stream

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in pages()}

SERVING = {"docs/serve.md", "docs/gateway-deploy.md"}  # whose settings are those of the gateway
SHARING = {f"docs/{name}.md" for name in ("share", "share-messages", "own-networks", "flower")}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"(?:\$ )?(?:\.venv/bin/)?understudy((?: .*)?)")
_ROOMS = "|".join(path.name for path in (ROOT / "understudy").iterdir() if path.is_dir())
_FUNCTION = re.compile(rf"(?:understudy\.)?((?:{_ROOMS})(?:\.[A-Za-z_]\w*)+)(?:\(.*\))?")
_FILE = re.compile(r"(?:understudy|tests|bench|examples|docs)/[\w./-]+")
_FIRST_CELL = re.compile(r"^\| (`[^|]+`) \|", re.MULTILINE)


def fenced(text: str, *languages: str) -> list[str]:
    return [body for language, body in _FENCE.findall(text) if language in languages]


def prose(text: str) -> str:
    return _FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """The names by which a page's headings are linked to."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(text: str, heading: str) -> str:
    """What stands under a heading of the second level."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_settings_page_is_current() -> None:
    assert PAGES["docs/config.md"] == settings_page()


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    broken = []
    for link in _LINK.findall(prose(PAGES[name])):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        there = target.exists()
        if there and anchor:
            there = anchor in anchors(target.read_text(encoding="utf-8"))
        if not there:
            broken.append(link)
    assert broken == []


def test_the_index_names_every_page() -> None:
    linked = set(_LINK.findall(PAGES["docs/README.md"]))
    assert {path.name for path in DOCS.glob("*.md")} - {"README.md"} == linked - {"../README.md"}


def navigated(entries: Any) -> Iterator[str]:
    for entry in entries:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else navigated(value)


def test_the_sites_navigation_names_every_page() -> None:
    named = sorted(navigated(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    own = {"README.md": "pages.md"}  # docs/README.md there; index.md is the repository's README.md
    assert named == sorted(["index.md", *(own.get(p.name, p.name) for p in DOCS.glob("*.md"))])


def commands() -> Iterator[tuple[str, list[str], bool]]:
    """(page, arguments, whole) of every command line shown; one in running text may be a part."""
    for name, text in PAGES.items():
        for block in fenced(text, "", "sh", "bash", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                if match := _COMMAND.fullmatch(line.strip()):
                    yield name, shlex.split(match[1], comments=True), True
        for code in re.findall(r"`([^`\n]+)`", prose(text)):
            if match := _COMMAND.fullmatch(code):
                yield name, shlex.split(match[1]), False


def parse(arguments: list[str], whole: bool) -> None:
    """Read a command line as the program would, to the settings; run nothing."""
    command: Any = typer.main.get_command(app)
    given = ["understudy" if word == "RECIPE" else word for word in arguments if word != "--help"]
    path = []
    while hasattr(command, "commands") and given:
        path.append(given.pop(0))
        found = command.get_command(
            command.make_context("", ["x"], resilient_parsing=True), path[-1]
        )
        assert found is not None, f"there is no command {' '.join(path)}"
        command = found
    if not whole and not given:
        return
    context = command.make_context(path[-1], given)
    if path[0] == "train":
        settings = [word for word in context.params["set_"] or [] if word != "KEY=VALUE"]
        config = resolve_config(path[1], None, settings)
        if not isinstance(config.stream, str) or "." not in config.stream:
            load_stream(config.stream, (*FAMILIES, *config.data))
    if path[0] == "federate":
        shown = context.params["config"]
        if shown is not None and shown.name != "CONFIG.yaml":
            federations_of(resolve_settings(FederateRun, {}, ROOT / shown, []))
    if path[0] == "share":
        given = [word for word in context.params["set_"] or [] if word != "KEY=VALUE"]
        resolve_settings(ShareRun, {}, None, [w for w in given if not w.endswith("=FOLDER")])
        shown = context.params["config"]
        if shown is not None and shown.name != "CONFIG.yaml":
            variants_of(resolve_settings(ShareRun, {}, ROOT / shown, []))


@pytest.mark.parametrize(
    ("arguments", "whole"), [pytest.param(a, w, id=f"{p} {' '.join(a)}") for p, a, w in commands()]
)
def test_commands_parse(arguments: list[str], whole: bool) -> None:
    parse(arguments, whole)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["train", "none", "--out", "x"],
        ["eval"],
        ["train", "grpo", "--out", "x", "--no"],
    ],
)
def test_a_wrong_command_does_not_parse(arguments: list[str]) -> None:
    with pytest.raises((AssertionError, UnderstudyError, typer.TyperException)):
        parse(arguments, True)


@pytest.mark.parametrize("name", PAGES)
def test_yaml_shown_is_a_stream_or_settings(name: str) -> None:
    for block in fenced(PAGES[name], "yaml"):
        content = yaml.safe_load(block)
        if isinstance(content, list):
            load_stream(content)
        elif name in SHARING:
            variants_of(check_settings(ShareRun, content))
        elif name == "docs/federate.md":
            federations_of(check_settings(FederateRun, content))
        elif name in SERVING:
            check_settings(ServeSettings, content)
        else:
            check_config(content)


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_defaults_on_a_recipes_page_are_its_defaults(recipe: str) -> None:
    page = PAGES.get(f"docs/{recipe}.md", "")
    config = resolve_config(recipe, None, []).model_dump()
    for key, shown in re.findall(
        r"^\| `([\w.]+)` \| `([^`]+)` \|", section(page, "Settings"), re.M
    ):
        value: Any = config
        for part in key.split("."):
            value = value[part]
        assert yaml.safe_load(shown) == value, f"{key} of recipe {recipe}"


def test_the_examples_of_the_tasks_are_what_their_command_prints() -> None:
    (script,) = fenced(PAGES["docs/tasks.md"], "python")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(script, {})
    assert printed.getvalue() in PAGES["docs/tasks.md"]


@pytest.mark.parametrize("name", PAGES)
def test_python_shown_is_python(name: str) -> None:
    for block in fenced(PAGES[name], "python"):
        for node in ast.parse(block).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("understudy"):
                module = importlib.import_module(node.module or "")
                assert [each.name for each in node.names if not hasattr(module, each.name)] == []


@pytest.mark.parametrize("name", PAGES)
def test_functions_and_files_named_exist(name: str) -> None:
    settings, missing = set(_FIRST_CELL.findall(PAGES["docs/config.md"])), []
    for code in re.findall(r"`([^`\n]+)`", prose(PAGES[name])):
        if f"`{code}`" in settings or code.endswith((".jsonl", ".html")):
            continue
        if match := _FUNCTION.fullmatch(code):
            missing += [] if exists(match[1]) else [code]
        elif _FILE.fullmatch(code):
            missing += [] if (ROOT / code).exists() else [code]
    assert missing == []


def exists(dotted: str) -> bool:
    """Whether a module of the package, or something in one, has this name."""
    found: Any = importlib.import_module("understudy")
    path = "understudy"
    for part in dotted.split("."):
        path = f"{path}.{part}"
        package = hasattr(found, "__path__")
        if not hasattr(found, part) and not (package and importlib.util.find_spec(path)):
            return False
        found = getattr(found, part, None) or importlib.import_module(path)
    return True


def test_every_example_that_extends_is_short_and_on_its_page() -> None:
    examples = sorted((ROOT / "examples" / "extend").glob("*.py"))
    page = PAGES["docs/extend.md"]
    assert examples
    assert [each.name for each in examples if f"examples/extend/{each.name}" not in page] == []
    assert [each.name for each in examples if len(each.read_text().splitlines()) > 60] == []


@pytest.mark.parametrize("name", PAGES)
def test_tables_are_what_the_results_say(name: str) -> None:
    assert filled(PAGES[name]) == PAGES[name]


def test_the_tiny_models_accuracy_is_that_of_the_model_that_ships() -> None:
    record = json.loads((RESULTS / "tiny_accuracy.json").read_text())
    weights = (TINY / "model.safetensors").read_bytes()
    assert record["sha256"] == hashlib.sha256(weights).hexdigest()
    assert f"{record['parameters']:,} parameters" in PAGES["docs/tiny-model.md"]
    assert f"{record['vocabulary']} tokens" in PAGES["docs/tiny-model.md"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunDirectory]:
    """Two steps of a recipe without dual variables of its own, and of the one with most."""
    folder = tmp_path_factory.mktemp("runs")
    model = saved_model(folder / "model")
    stream = [{"families": "facts", "levels": [1, 1], "steps": 2}]
    return [
        run_new(folder / name, config_of(name, model, stream=stream, **settings))
        for name, settings in (("dagrpo", {"epsilon": 0.2, "beta": 0.1}), ("understudy", {}))
    ]


def defined(page: str, heading: str) -> list[set[str]]:
    """The keys that each table of a section defines, in order."""
    text = section(PAGES[f"docs/{page}.md"], heading)
    tables = re.split(r"^\|---.*$", text, flags=re.MULTILINE)[1:]
    return [{cell.strip("`") for cell in _FIRST_CELL.findall(table)} for table in tables]


def test_every_key_of_a_metrics_line_is_defined(runs: list[RunDirectory]) -> None:
    written = {key for run in runs for line in run.metric_lines() for key in line}
    assert defined("run-directory", "metrics.jsonl") == [written]


def test_every_key_of_a_matrix_is_defined(runs: list[RunDirectory]) -> None:
    rows = [row for run in runs for row in run.read(run.matrix)]
    cells = {key for row in rows for cell in row["tasks"] for key in cell}
    assert defined("run-results", "matrix.json") == [{key for row in rows for key in row}, cells]


def test_every_key_of_an_examined_question_is_defined(runs: list[RunDirectory]) -> None:
    known = {field.name for field in fields(ExaminedQuestion)}
    written = {key for run in runs for line in run.read_examination("phase-1") for key in line}
    assert written <= known
    assert defined("run-results", "Examined questions") == [known]


def test_every_key_of_a_summary_is_defined(runs: list[RunDirectory]) -> None:
    summaries = [run.read(run.summary) for run in runs]
    phases = {key for summary in summaries for phase in summary["phases"] for key in phase}
    assert defined("run-results", "summary.json") == [
        {key for each in summaries for key in each},
        phases,
    ]
    page = section(PAGES["docs/run-results.md"], "summary.json")
    assert all(f"`{key}`" in page for key in summaries[0]["spend"])
    assert all(f"`{key}`" in page for key in summaries[0]["phases"][0]["evaluation"])


def test_every_file_of_a_run_is_listed(runs: list[RunDirectory]) -> None:
    page = PAGES["docs/run-directory.md"]
    saved = runs[0].last_checkpoint().iterdir()
    names = [path.name for path in runs[0].path.iterdir() if path.is_file()]
    assert [name for name in names if f"| `{name}`" not in page] == []
    assert [path.name for path in saved if f"`{path.name}`" not in page] == []
    assert json.loads(runs[0].timings.read_text().splitlines()[0]).keys() == {"step", "step_time"}


def test_every_key_of_a_run_of_agents_is_defined(tmp_path: Path) -> None:
    run = new_share(tmp_path / "run", check_settings(ShareRun, SMALL | {"seeds": [0]}), Quiet())
    summary = run.read(run.summary)
    (one, *_) = summary["variants"].values()
    of_seed = one["seeds"][0].keys()
    (lines,) = defined("share-results", "metrics.jsonl")
    variant, seed, fit = defined("share-results", "summary.json")
    assert lines == {key for line in run.metric_lines() for key in line}
    assert variant == one.keys()
    assert seed == of_seed
    line = {"slope", "slope_error", "intercept", "value_of_information"}
    assert line | {"learner", "shares", "variants"} == fit
    page = PAGES["docs/share-results.md"]
    assert all(f"`{key}`" in page for key in (*summary, *one["seeds"][0]["agents"][0]))
