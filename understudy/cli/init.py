"""`understudy init`: a first config, with the reason for every line."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from understudy.cli import init_options, options, serve_options
from understudy.cli.output import complain
from understudy.cli.printing import print_json
from understudy.cli.work import shown_work
from understudy.errors import ConfigError

if TYPE_CHECKING:
    from understudy.init.asking import Wish
    from understudy.init.columns import Ask
    from understudy.init.draft import Draft

_ENDINGS = (".yaml", ".yml")
_SAID = "give --data FILE and --model MODEL, or --template NAME"


def init(
    model: init_options.Model = None,
    data: init_options.Data = None,
    cloud: init_options.Cloud = None,
    cloud_model: init_options.CloudModel = None,
    cloud_key_env: serve_options.CloudKeyEnv = None,
    prices: serve_options.Prices = None,
    prompt: init_options.Prompt = None,
    solution: init_options.Solution = None,
    template: init_options.Template = None,
    out: init_options.Out = None,
    force: init_options.Force = False,
    no_check: options.NoCheck = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a config that says why, line by line, after looking at your data, model and cloud."""
    named: dict[str, Any] = {
        "--model": model,
        "--data": data,
        "--cloud": cloud,
        "--cloud-model": cloud_model,
        "--cloud-key-env": cloud_key_env,
        "--prices": prices,
        "--prompt": prompt,
        "--solution": solution,
    }
    if template is not None:
        given = [option for option, value in named.items() if value is not None]
        if given:
            raise ConfigError(f"{given[0]}: --template looks at nothing; leave one of them out")
        _write_template(template, out, force, as_json, quiet)
        return
    if cloud is None:
        for option in ("--cloud-model", "--cloud-key-env", "--prices"):
            if named[option] is not None:
                raise ConfigError(f"{option} describes --cloud; give that too")
    ask = _ask if not as_json and sys.stdin.isatty() and sys.stderr.isatty() else None
    wish = _wish(named, ask)
    place = _place(out, _stem(wish.data))
    _check_free([place], force)
    draft = _drafted(wish, place, ask, not no_check, quiet or as_json)
    _write({place: draft.text})
    _show(draft, place, as_json, quiet)


def _wish(named: Mapping[str, Any], ask: Ask | None) -> Wish:
    from understudy.init.asking import Wish
    from understudy.init.cloud import Given

    data, model = named["--data"], named["--model"]
    if data is None and ask is not None:
        data = Path(ask("Which file has your questions and answers?", ()))
    if data is None:
        raise ConfigError(_SAID)
    if not data.expanduser().exists():
        raise ConfigError(f"--data {data}: there is no such file or folder")
    if model is None and ask is not None:
        model = ask("Which model learns (a folder, a GGUF file, a name of the hub, tiny)?", ())
    if model is None:
        raise ConfigError(f"--model: which model learns? {_SAID}")
    cloud = None
    if named["--cloud"] is not None:
        cloud = Given(
            named["--cloud"], named["--cloud-model"], named["--cloud-key-env"], named["--prices"]
        )
    return Wish(model, data, cloud, named["--prompt"], named["--solution"])


def _drafted(wish: Wish, place: Path, ask: Ask | None, check: bool, quiet: bool) -> Draft:
    from understudy.init.asking import seen

    # Bars would stand in the way of questions.
    with nullcontext() if ask else shown_work(with_torch=False, quiet=quiet):
        known = seen(wish, ask, check)
    with shown_work(quiet=quiet):
        from understudy.init.draft import drafted

        return drafted(known, place, check, (lambda _: None) if quiet else complain)


def _ask(question: str, choices: Sequence[str]) -> str:
    """A person at the terminal; what is written there is no result."""
    if not choices:
        return str(typer.prompt(question, err=True))
    complain("\n".join(f"  {number} {name}" for number, name in enumerate(choices, start=1)))
    number: int = typer.prompt(f"{question} 1 to {len(choices)}", type=int, err=True)
    if not 1 <= number <= len(choices):
        raise ConfigError(f"{number}: there is no such one; give 1 to {len(choices)}")
    return choices[number - 1]


def _stem(data: Path) -> str:
    return data.name.partition(".")[0] or "understudy"


def _place(out: Path | None, stem: str) -> Path:
    """The file that --out names."""
    if out is None:
        return Path(f"{stem}.yaml")
    return out if out.suffix in _ENDINGS and not out.is_dir() else out / f"{stem}.yaml"


def _check_free(places: Sequence[Path], force: bool) -> None:
    for place in places:
        if place.parent.exists() and not place.parent.is_dir():
            raise ConfigError(f"--out {place.parent}: is a file; a config ends in .yaml")
        if place.is_dir():
            raise ConfigError(f"--out {place}: is a folder; give a file's name")
        if place.exists() and not force:
            raise ConfigError(f"{place}: is there already; give another --out, or --force")


def _write(texts: Mapping[Path, str]) -> None:
    from understudy.files import write_text

    for place, text in texts.items():
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_text(place, text)
        except OSError as error:
            raise ConfigError(f"--out {place}: cannot be written ({error.strerror})") from None


def _write_template(name: str, out: Path | None, force: bool, as_json: bool, quiet: bool) -> None:
    from understudy.init.templates import TEMPLATES, template_files

    files = template_files(name)
    place = _place(out, name)
    (_, text), *beside = files.items()
    texts = {place: text} | {place.with_name(other): content for other, content in beside}
    _check_free([*texts], force)
    _write(texts)
    then = TEMPLATES[name].next.format(config=place)
    if as_json:
        print_json({"path": str(place), "files": [str(each) for each in texts], "next": then})
    elif quiet:
        print(place)
    else:
        print(f"wrote {' and '.join(map(str, texts))}: {TEMPLATES[name].summary}; next:\n  {then}")


def _show(draft: Draft, place: Path, as_json: bool, quiet: bool) -> None:
    for text in draft.warnings:
        complain(f"warning: {text}")
    if as_json:
        print_json({"path": str(place), **draft.to_json()})
    elif quiet:
        print(place)
    else:
        print("\n".join(draft.findings))
        print(f"wrote {place}; next:\n  {draft.next}")
