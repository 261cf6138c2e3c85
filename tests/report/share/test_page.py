"""The report of agents that share: its figures are the summary's, its picture shows the traffic."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.report.pages import (
    HOSTILE,
    Elements,
    assert_needs_nothing_else,
    assert_nothing_became_markup,
    change,
    page,
    shown,
)
from tests.report.share.sharing import THREE, written_share_run
from understudy.errors import RunError
from understudy.report import write
from understudy.report.parts.numbers import number, size
from understudy.report.share.records import curves_of
from understudy.run import RunDirectory
from understudy.share.records import Examination


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    fates = {"lost": 3, "waits": 7}
    run = written_share_run(tmp_path_factory.mktemp("whole") / "run", fates=fates)
    write(run)
    return run


def row(run: RunDirectory, table: int, name: str) -> list[str]:
    """The cells of the row of a name in the page's table of this number."""
    found = re.findall(r"<table>.*?</table>", shown(run), re.DOTALL)[table]
    line = next(line for line in found.splitlines() if re.search(f">{name}[ <]", line))
    return [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", line)]


def test_the_table_of_variants_holds_the_figures_of_the_summary(whole: RunDirectory) -> None:
    variants = whole.read(whole.summary)["variants"]
    for name, variant in variants.items():
        cells = row(whole, 0, name)
        for cell, key, digits in zip(cells, ("accuracy", "learning_speed"), (3, 3), strict=False):
            mean, error = variant[key]["mean"], variant[key]["standard_error"]
            assert cell == f"{mean:.{digits}f} ± {error:.{digits}f}"
        gain = variant["gain"]
        assert cells[2] == ("–" if gain is None else f"{number(gain['mean'], sign='+')} ± 0.21")
        assert cells[3:5] == [f"{variant['floats']:,.0f}", size(variant["bytes"])]
        worst, spread = (variant["users"]["unweighted"][key] for key in ("worst", "std"))
        assert cells[5:] == [f"{worst:.3f}", f"{spread:.3f}"]


def test_the_tiles_tell_of_the_most_accurate_variant(whole: RunDirectory) -> None:
    best = whole.read(whole.summary)["variants"]["modular, modules"]
    tiles = re.search(r'<ul class="tiles">(.*?)</ul>', shown(whole), re.DOTALL)
    assert tiles is not None
    figures = re.findall(r"<strong>(.*?)</strong>", tiles[1])
    worst = best["users"]["unweighted"]["worst"]
    assert figures == [
        f"{best['accuracy']['mean']:.3f}",
        f"{best['gain']['mean']:+.2f}\N{NO-BREAK SPACE}%",
        size(best["bytes"]),
        f"{worst:.3f}",
    ]
    assert "over modular, nothing" in tiles[1]


def test_the_best_is_not_praised_beyond_its_error(tmp_path: Path) -> None:
    run = written_share_run(tmp_path / "run", agents=2, tasks=1)

    def near(summary: Any) -> None:
        for name, mean in (("modular, data", 0.899), ("modular, modules", 0.9)):
            summary["variants"][name]["accuracy"] = {"mean": mean, "standard_error": 0.01}

    change(run, "summary", near)
    assert "not clearly above modular, data" in page(run)


def test_a_graph_and_the_table_give_the_same_megabytes(whole: RunDirectory) -> None:
    for name in ("modular, data", "modular, modules"):
        sent = size(whole.read(whole.summary)["variants"][name]["bytes"])
        caption = re.search(rf"<strong>{name}</strong><small>(.*?)</small>", shown(whole))
        assert caption is not None
        assert caption[1].startswith(f"{sent} a population")
        assert row(whole, 0, name)[4] == sent


def test_where_costs_lie_close_no_line_is_claimed(whole: RunDirectory) -> None:
    assert "Not known: a line of gain over cost takes three variants" in shown(whole)


def test_curves_that_wait_for_tasks_learnt_jointly_get_a_word(whole: RunDirectory) -> None:
    assert "The first 4 tasks are learnt jointly" in shown(whole)


def test_users_reveals_and_links_are_on_the_page(whole: RunDirectory) -> None:
    variants = whole.read(whole.summary)["variants"]
    data = variants["modular, data"]
    users = data["users"]
    keys = ["mean", "std", "worst", *(f"decile_{i}" for i in range(1, 10)), "best"]
    figures = [users["weighted"]["mean"], *(users["unweighted"][key] for key in keys)]
    assert row(whole, 2, "modular, data") == [f"{figure:.3f}" for figure in figures]
    text = Elements(shown(whole)).text
    assert "modular, nothingNothing." in text
    assert "modular, datadata leave an agent." in text
    # 6 edges in each of 2 seeds
    assert row(whole, 4, "modular, data") == [str(12 * n) for n in (40, 0, 7, 0, 3)]
    assert "lost: it was sent and never arrived" in text
    assert row(whole, 5, "modular, data") == ["4"]


def test_a_page_of_sharing_needs_nothing_but_itself(whole: RunDirectory) -> None:
    assert_needs_nothing_else(shown(whole))


def test_the_same_run_of_agents_gives_the_same_bytes(whole: RunDirectory, tmp_path: Path) -> None:
    copied = RunDirectory.open(shutil.copytree(whole.path, tmp_path / "elsewhere"))
    copied.report.unlink()
    assert page(copied) == shown(whole)


def test_a_run_of_agents_can_be_repeated_from_its_page(whole: RunDirectory) -> None:
    text = Elements(shown(whole)).text
    assert "understudy share config.yaml --out runs/again" in text
    settings = text[text.index("All settings") + len("All settings") :]
    assert yaml.safe_load(settings) == whole.settings()


def test_one_agent_that_shares_nothing(tmp_path: Path) -> None:
    run = written_share_run(tmp_path / "run", THREE[:1], 1, tasks=1, seeds=1, fits=False)
    text = page(run)
    assert not re.search(r"\b(nan|None|inf)\b", text)
    for absent in ("Who sent", "over cost", "more sharing is worth", "went wrong"):
        assert absent not in text
    assert "shares nothing" in text


def test_what_was_not_measured_among_agents_is_a_dash(tmp_path: Path) -> None:
    run = written_share_run(tmp_path / "run", agents=2, tasks=2)

    def forget(summary: Any) -> None:
        for variant in summary["variants"].values():
            nothing = {"mean": None, "standard_error": None}
            variant |= {"accuracy": nothing, "learning_speed": nothing, "gain": None}
            variant |= {"cost": None, "floats": None, "bytes": None}
            variant["users"] = {key: dict.fromkeys(each) for key, each in variant["users"].items()}
            for seed in variant["seeds"]:
                for agent in seed["agents"]:
                    agent |= {"accuracy": None, "learning_speed": None, "modules": None}
                    agent["tasks"] = [None, None]
                for edge in seed["edges"]:
                    edge |= {"floats": {}, "bytes": {}, "fates": {}}
        for fit in summary["fits"]:
            fit |= {"slope": None, "intercept": None, "value_of_information": None}
        summary["fits"].append(
            {"learner": "modular", "shares": "modules", "variants": ["modular, modules"]}
            | dict.fromkeys(("slope", "intercept", "value_of_information"))
        )

    change(run, "summary", forget)
    lines = [line | {"accuracy": [[None, None]] * 2} for line in run.metric_lines()]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = page(run)
    assert text.count("–") > 30
    assert not re.search(r"\b(nan|None)\b", text)


def test_names_of_variants_cannot_become_markup(tmp_path: Path) -> None:
    sketches = ((HOSTILE, "modular", (), 0.0), ("_<b>", "modular", ("data",), 0.01))
    run = written_share_run(tmp_path / "run", sketches, agents=2, tasks=1, fates={"lost": 1})

    def injure(summary: Any) -> None:
        for variant in summary["variants"].values():
            variant["reveals"] = [HOSTILE]
            variant["seeds"][0]["events"] = {HOSTILE: 1}
            for edge in variant["seeds"][0]["edges"]:
                edge["bytes"], edge["floats"] = {HOSTILE: 3}, {HOSTILE: 3}
                edge["fates"] = {HOSTILE: 4}

    change(run, "summary", injure)
    text = page(run)
    assert_nothing_became_markup(text)
    assert "_<b>" in Elements(text).text


def test_an_unfinished_run_of_agents_is_refused(tmp_path: Path) -> None:
    run = written_share_run(tmp_path / "run", THREE[:1], 1, tasks=1, seeds=1)
    run.summary.unlink()
    with pytest.raises(RunError, match=r"summary\.json"):
        write(run)
    assert not run.report.exists()


def test_every_variant_that_shares_has_its_picture(whole: RunDirectory) -> None:
    section = re.search(r'<div class="graphs">(.*?)</div>', shown(whole), re.DOTALL)
    assert section is not None
    assert section[1].count("<svg") == 2
    names = [name for name, *_ in THREE[1:]]
    assert all(f"<strong>{name}</strong>" in section[1] for name in names)
    titles = re.findall(r"<title>(\d → \d: [^<]*)</title>", section[1])
    assert len(titles) == 2 * 3 * 2  # pictures, agents, neighbours
    edge = whole.read(whole.summary)["variants"][names[0]]["seeds"][0]["edges"][0]
    assert any(
        title.startswith(f"0 → 1: {size(sum(edge['bytes'].values()))} (") for title in titles
    )


def test_curves_are_means_over_seeds_and_over_later_tasks() -> None:
    lines = [
        Examination(0, "a", task, epoch, [[up, 0.5], [up, None]], [], [], [])
        for task in range(6)
        for epoch, up in ((0, task / 10), (4, 0.8))
    ]
    curve = curves_of(lines)["a"]
    assert curve.agents[2:4].tolist() == [pytest.approx([0.1, 0.5]), pytest.approx([0.8, 0.5])]
    assert curve.when[:4].tolist() == [0, 1, 1, 2]
    epochs, accuracies = curve.within_a_task()
    assert epochs.tolist() == [0, 4]
    # The fifth task and the sixth: (0.4 + 0.5 + 0.5 + 0.5) / 4
    assert accuracies.tolist() == pytest.approx([0.475, 0.65])
