"""Fill the marked sections of README.md and docs/ from the JSON in bench/results, and from files;
draw the picture of README.md.

    python bench/tables.py

A section begins at the comment `begin: NAME` and ends at `end: NAME`; what stands between them
is built from a results file by the function that TABLES gives for the name. Section `file PATH`
shows a Python or YAML file of the repository.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import federated_tables
import gateway_tables
import quality_over_cost
import real_tables
import study_tables

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
# Final accuracy and learning speed of arXiv:2405.17466 on MNIST, 8 seeds, in percent.
PUBLISHED = {
    "modular, nothing": (93.47, 92.68),
    "modular, data": (94.60, 93.89),
    "modular, FedAvg": (93.57, 92.82),
    "modular, FedFish": (93.77, 92.76),
    "modular, FedCurv": (93.78, 92.76),
    "modular, FedProx": (93.93, 93.05),
    "modular, modmod": (94.08, 93.94),
    "modular, all three": (94.57, 94.75),
    "monolithic, nothing": (91.96, 93.10),
    "monolithic, data": (94.20, 94.54),
    "monolithic, FedAvg": (93.86, 93.76),
    "monolithic, FedProx": (93.74, 93.65),
}
SLOPES = {  # of gain on ln(cost), there
    "modular, modules": 1.579,
    "modular, parameters": 0.333,
    "modular, data": 0.140,
    "monolithic, parameters": 1.263,
    "monolithic, data": 1.384,
}
WAYS = {  # of bench/share.py
    "together": "eight seeds together",
    "one seed": "one seed",
    "plain": "plain loop, one seed",
    "flower": "Flower, two nodes, one seed",
}
_SECTION = re.compile(r"(<!-- begin: ([^>]+?) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def tiny_accuracy_table(record: dict[str, Any]) -> str:
    """A row per family: greedy accuracy by level, then how often a drawn response asks."""
    rows = []
    for name, found in record["families"].items():
        levels = [f"{share:.3f}" for share in found["accuracy"].values()]
        rows.append([name, *levels, f"{found['ask_share']:.3f}"])
    levels = list(next(iter(record["families"].values()))["accuracy"])
    return markdown_table(["family", *(f"level {level}" for level in levels), "asks"], rows)


def speed_table(record: dict[str, Any]) -> str:
    """A row per model: a whole training step of both sides, and their ratio."""
    rows = []
    for result in record["results"]:
        ours, theirs = result["understudy"], result["trl"]
        rows.append(
            [
                f"{result['parameters'] / 1e6:.2f} M",
                f"{ours['samples_per_second']:.0f}",
                f"{theirs['samples_per_second']:.0f}",
                f"{result['ratio']:.1f}",
                f"{result['ratio_of_processor_time']:.1f}",
            ]
        )
    header = ["parameters", "samples/s", "TRL, samples/s", "ratio", "ratio of processor time"]
    return markdown_table(header, rows)


def sampling_table(record: dict[str, Any]) -> str:
    """A row per model, case and side: tokens per second, of all and of decoding alone, and where
    it is known the share of the pace that products with the weights alone would allow."""
    rows = []
    for model, found in record["models"].items():
        for result in found["results"]:
            case = result["case"]
            asked = f"{case['prompts']} x {case['group']}, {case['prompt']} + {case['length']}"
            for name, side in result["sides"].items():
                share = side.get("share_of_products")
                rates = (side["tokens_per_second"], side["decode_tokens_per_second"])
                cells = [f"{rate:.0f}" for rate in rates]
                rows.append([model, asked, name, *cells, "" if share is None else f"{share:.0%}"])
    header = ["model", "prompts x group, tokens read + drawn", "side", "tokens/s", "decoding"]
    return markdown_table([*header, "of products' pace"], rows)


def real_step_table(record: dict[str, Any]) -> str:
    """A row per case and side: what a step takes, of it drawing, and a token drawn."""
    rows = []
    for found in record["cases"]:
        case = found["case"]
        asked = f"{case['data']}, {case['batch_size']} x {case['group']}, {case['length']}"
        samples = case["batch_size"] * case["group"]
        for name, side in found["sides"].items():
            steps = len(side["all_seconds"])
            update, seconds = side["update_processor_seconds"], side["processor_seconds"]
            rows.append(
                [
                    asked,
                    name,
                    f"{seconds:.1f}",
                    f"{update:.1f}",
                    f"{side['seconds']:.1f}",
                    f"{samples / seconds:.2f}",
                    f"{side['tokens_drawn'] / steps / samples:.0f}",
                    f"{1000 * seconds * steps / side['tokens_drawn']:.0f}",
                    f"{side['peak_gigabytes']:.1f}",
                ]
            )
    header = ["questions, prompts x group, longest", "side", "processor s", "of it the update"]
    header += ["wall s", "samples per processor s", "mean length", "processor ms per token"]
    return markdown_table([*header, "peak GB"], rows)


def sandbox_table(record: dict[str, Any]) -> str:
    """Checks per second of both sides, by the wall's clock and the processor's, and their ratio."""
    result = record["result"]
    rows = []
    for label, measure, ratio in (
        ("by the clock on the wall", "checks_per_second", "ratio"),
        ("by processor time", "checks_per_processor_second", "ratio_of_processor_time"),
    ):
        sides = [f"{result[side][measure]:.1f}" for side in ("sandbox", "one_by_one")]
        rows.append([label, *sides, f"{result[ratio]:.1f}"])
    return markdown_table(["checks/s", "sandbox", "a bubblewrap for each", "ratio"], rows)


def published_solutions_table(record: dict[str, Any]) -> str:
    """How many of a set's own solutions pass its tests, and which do not."""
    rows = []
    for name, found in record["published"].items():
        failed = "; ".join(f"{task}: {why}" for task, why in found["not_passed"].items())
        rows.append([name, str(found["solutions"]), str(found["passed"]), failed.replace("|", "/")])
    return markdown_table(["data", "solutions", "passed", "not passed"], rows)


def memory_table(record: dict[str, Any]) -> str:
    """Peak memory of each way to a token's log-probability and back, largest first."""
    found = {way: row["megabytes"] for way, row in record["results"].items() if row}
    order = sorted(found, key=lambda way: -found[way])
    return markdown_table(["way", "MB"], [[way, f"{found[way]:.0f}"] for way in order])


def steps_table(record: dict[str, Any]) -> str:
    """A row per lesson: one agent's optimiser step on both sides, in microseconds."""
    rows = []
    for case, found in record["cases"].items():
        sides = [f"{found[side]['lower quartile']:.0f}" for side in ("understudy", "plain loop")]
        rows.append([case, *sides, f"{found['ratio']:.1f}"])
    return markdown_table(["one agent's step, µs", "understudy", "plain loop", "ratio"], rows)


def sharing_table(record: dict[str, Any]) -> str:
    """A row per variant: final accuracy and learning speed in percent, ± over seeds, the paper's
    own beside them where it has any."""
    rows = []
    for name in sorted(record["variants"], key=_published_place):
        found, cells = record["variants"][name], []
        for key, paper in zip(
            ("accuracy", "learning_speed"), PUBLISHED.get(name, ("", "")), strict=True
        ):
            cells += [_with_error(found[key], 100), f"{paper:.2f}" if paper else ""]
        rows.append([name, str(len(found["seeds"])), *cells])
    return markdown_table(["shared", "seeds", "accuracy", "published", "speed", "published"], rows)


def plain_sharing_table(record: dict[str, Any]) -> str:
    """The same of what the paper has no figures for, with the gain and what was sent for it."""
    rows = []
    for name, found in record["variants"].items():
        cells = [_with_error(found[key], 100) for key in ("accuracy", "learning_speed")]
        gain = _with_error(found["gain"]) if found["gain"] else ""
        sent = f"{found['bytes'] / 1e6:.3g}" if found["bytes"] else ""
        rows.append([name, str(len(found["seeds"])), *cells, gain, sent])
    return markdown_table(["shared", "seeds", "accuracy", "speed", "gain, %", "MB sent"], rows)


def fits_table(record: dict[str, Any]) -> str:
    """A row per kind of sharing: what a float brings, over several budgets."""
    rows = []
    for fit in record["fits"]:
        kind = f"{fit['learner']}, {fit['shares']}"
        gains = [record["variants"][name]["gain"]["mean"] for name in fit["variants"]]
        span = f"{min(gains):.2f} to {max(gains):.2f}"
        slope, value = f"{fit['slope']:.3f}", f"{fit['value_of_information']:.2g}"
        published = f"{SLOPES[kind]:.3f}" if kind in SLOPES else ""
        rows.append([kind, str(len(gains)), span, slope, published, value])
    header = [
        "shared",
        "budgets",
        "gain, %",
        "slope",
        "published",
        "value of information, % a float",
    ]
    return markdown_table(header, rows)


def _with_error(found: dict[str, float], unit: int = 1) -> str:
    return f"{unit * found['mean']:.2f} ± {unit * found['standard_error']:.2f}"


def runs_table(record: dict[str, Any]) -> str:
    """A row per learner and way of training it: how much faster than a plain loop, how well."""
    rows = []
    for learner in ("modular", "monolithic"):
        sides = {side: of[0] for side, of in record["results"][learner]["sides"].items()}
        for side, found in sides.items():
            speed = found["agent_epochs_per_second"]
            ratio = speed / sides["plain"]["agent_epochs_per_second"]
            accuracy = f"{100 * found['accuracy']:.1f}"
            way = f"{learner}, {WAYS[side]}"
            rows.append([way, f"{speed:.3g}", f"{ratio:.2g}", accuracy])
    return markdown_table(["learner", "agent-epochs/s", "of the plain loop's", "accuracy"], rows)


def scale_table(record: dict[str, Any]) -> str:
    """A row per number of agents: what each of them costs."""
    rows = []
    for found in record["results"]["modular, ring"]["sides"]["together"]:
        each = [1000 * found[key] / found["agents"] for key in ("seconds", "processor_seconds")]
        costs = [*each, found["peak_megabytes"]]
        rows.append([str(found["agents"]), *(f"{cost:.0f}" for cost in costs)])
    header = ["agents", "ms for each", "processor ms for each", "peak MB of all"]
    return markdown_table(header, rows)


def _published_place(name: str) -> tuple[int, str]:
    return ([*PUBLISHED].index(name) if name in PUBLISHED else len(PUBLISHED)), name


def of_study(table: Callable[[dict[str, Any]], study_tables.Table]) -> Callable[[Any], str]:
    return lambda record: markdown_table(*table(record))


def results(name: str) -> Any:
    """What a results file holds, or the runs of a folder of them."""
    if name == "federated":
        return federated_tables.runs_of(RESULTS / name)
    if (RESULTS / name).is_dir():
        return real_tables.runs_by_name(RESULTS / name)
    return json.loads((RESULTS / f"{name}.json").read_text())


# The name of a section: the results file it is built from, and the function that builds it.
TABLES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "tiny accuracy": ("tiny_accuracy", tiny_accuracy_table),
    "speed": ("training_step", speed_table),
    "real steps": ("training_step_real", real_step_table),
    "sampling": ("sampling", sampling_table),
    "sandbox": ("sandbox", sandbox_table),
    "logprob memory": ("logprob_memory", memory_table),
    "sharing steps": ("share_steps", steps_table),
    "sharing": ("share_mnist", sharing_table),
    "sharing budgets": ("share_sweep", fits_table),
    "sharing messages": ("share_messages", plain_sharing_table),
    "sharing pictures": ("share_cifar10", plain_sharing_table),
    "sharing example": ("share_modes", plain_sharing_table),
    "sharing runs": ("share", runs_table),
    "sharing scale": ("share", scale_table),
    "federated depth": ("federated_depth", of_study(federated_tables.depth_table)),
    "published solutions": ("sandbox", published_solutions_table),
    "methods": ("study", of_study(study_tables.methods_table)),
    "budget": ("study", of_study(study_tables.budget_table)),
    "ablation": ("study", of_study(study_tables.ablation_table)),
    "published": ("study", of_study(study_tables.published_table)),
    "quality over cost": ("real", of_study(quality_over_cost.table)),
    **{name: ("real", of_study(table)) for name, table in real_tables.TABLES.items()},
    **{name: ("federated", of_study(table)) for name, table in federated_tables.TABLES.items()},
    **{name: (file, of_study(table)) for name, (file, table) in gateway_tables.TABLES.items()},
}


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """The first column to the left, figures to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def filled(text: str) -> str:
    """A page with every marked section built anew."""

    def section(match: re.Match[str]) -> str:
        if match[2].startswith("file "):
            path = ROOT / match[2].removeprefix("file ")
            language = {".py": "python", ".yaml": "yaml"}[path.suffix]
            code = path.read_text(encoding="utf-8")
            return f"{match[1]}\n```{language}\n{code}```\n\n{match[3]}"
        if match[2] not in TABLES:
            raise KeyError(f"section {match[2]!r} has no function; add it to TABLES")
        file, build = TABLES[match[2]]
        return f"{match[1]}\n{build(results(file))}\n\n{match[3]}"

    return _SECTION.sub(section, text)


def pages() -> Iterator[Path]:
    yield from sorted(ROOT.glob("*.md"))
    yield from sorted((ROOT / "docs").rglob("*.md"))


def main() -> None:
    for page in pages():
        old = page.read_text(encoding="utf-8")
        if (new := filled(old)) != old:
            page.write_text(new, encoding="utf-8")
            print(f"filled {page.relative_to(ROOT)}")
    if quality_over_cost.write():
        print(f"drew {quality_over_cost.PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
