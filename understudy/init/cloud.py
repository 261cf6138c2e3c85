"""The cloud that helps: which model, at which price, and whether it answers."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from understudy.clouds.building import build_cloud
from understudy.clouds.check import check_cloud
from understudy.clouds.endpoint import chat_url, read_key
from understudy.clouds.estimates import estimated_cost
from understudy.clouds.prices import PriceSettings, load_prices, price_pair
from understudy.clouds.settings import CloudSettings
from understudy.errors import ConfigError
from understudy.init.columns import Ask
from understudy.progress import task
from understudy.settings import check_settings
from understudy.tasks import DataSet
from understudy.tasks.checker import Kind
from understudy.types import Problem
from understudy.waiting import wait_for

_LIST_SECONDS = 20.0
# The longest answer to ask for: a large model that reasons needs room to come to an end.
_SHORT: Mapping[Kind, int] = {"label": 32, "choice": 32, "text": 256}
_REASONED = 1024


@dataclass(frozen=True, slots=True)
class Given:
    """What a person said of a cloud. prices: a pair as 0.5/2, or the file of a table."""

    url: str
    model: str | None = None
    key_env: str | None = None
    prices: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What is known of it. prices: dollars per million tokens, or the file of a table; assumed:
    nobody gave them, and it is a machine of one's own."""

    base_url: str
    model: str
    key_env: str | None
    prices: PriceSettings | str
    assumed: bool
    is_near: bool  # on this machine, or in this house

    def max_tokens(self, kind: Kind) -> int:
        return _SHORT.get(kind, _REASONED)


def endpoint_of(given: Given, ask: Ask | None, check: bool) -> Endpoint:
    """ask: a person, for what cannot be found out; check: whether the endpoint may be asked which
    models it has."""
    base = chat_url(given.url).removesuffix("/chat/completions")
    is_near = near(base)
    key = read_key(given.key_env, None)
    model = given.model or _only_model(base, key, ask, check)
    prices, assumed = _prices(given, model, ask, is_near)
    return Endpoint(base, model, given.key_env, prices, assumed, is_near)


def near(url: str) -> bool:
    """Whether an address is of this machine or this house, where no bill comes from.

    >>> near("http://localhost:8080/v1"), near("http://192.168.1.5/v1"), near("https://a.com/v1")
    (True, True, False)
    """
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".localhost", ".internal"))


def _only_model(base: str, key: str | None, ask: Ask | None, check: bool) -> str:
    if not check:
        raise ConfigError("--cloud-model: give the model's name, as --no-check asks nobody for it")
    with task("asking the cloud which models it has"):
        names = wait_for(_models(base, key))
    if len(names) == 1:
        return names[0]
    if names and ask is not None:
        return ask("Which of the cloud's models helps?", names)
    known = ", ".join(names[:8]) + ("..." if len(names) > 8 else "")
    raise ConfigError(f"{base} has {known or 'no model'}; name one by --cloud-model")


async def _models(base: str, key: str | None) -> list[str]:
    import aiohttp

    from understudy.clouds.listing import models_at

    async with (
        aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        ) as session,
        asyncio.timeout(_LIST_SECONDS),
    ):
        return await models_at(session, base)


def _prices(
    given: Given, model: str, ask: Ask | None, is_near: bool
) -> tuple[PriceSettings | str, bool]:
    text = given.prices
    if text is None and is_near:
        return PriceSettings(prompt=0, completion=0), True
    if text is None and ask is not None:
        text = ask(f"What does {model} charge, in dollars per million tokens, as 0.5/2?", ())
    if text is None:
        raise ConfigError(
            f"--cloud {given.url}: what does it charge? Give --prices 0.5/2, dollars per million "
            "tokens of question and answer, or your price table"
        )
    pair = price_pair(text)
    if pair is not None:
        try:
            return check_settings(PriceSettings, pair), False
        except ConfigError as error:
            raise ConfigError(f"--prices {text}: {error}") from None
    if not Path(text).is_file():
        raise ConfigError(
            f"--prices {text}: is no file, and no pair of prices; write 0.5/2, dollars per million "
            "tokens of question and answer, or the name of your price table"
        )
    load_prices(Path(text), model, "cloud.http")
    return text, False


@dataclass(frozen=True, slots=True)
class DryCall:
    """One question that the cloud was asked. right: None where a look does not tell."""

    question: str
    answer: str | None
    right: bool | None
    dollars: float
    at_most: float
    tokens: int
    seconds: float

    def text(self) -> str:
        judged = {True: ", which is right", False: ", which is wrong", None: ""}[self.right]
        answer = "no answer in the form that is wanted" if self.answer is None else self.answer
        return (
            f"one question for ${self.dollars:.6f}: {_short(self.question)!r} -> "
            f"{_short(answer)!r}{judged}, {self.tokens} tokens in {self.seconds:.1f} s"
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def dry_call(
    settings: CloudSettings, data: DataSet, problem: Problem, say: Callable[[str], None]
) -> DryCall | None:
    """Ask a cloud one question of the data, and say before what it may cost."""
    cloud = build_cloud(settings, lambda _: problem)
    most = estimated_cost(cloud, problem.question).dollars
    say(f"asking the cloud one question, for ${most:.6f} at most (--no-check leaves it out)")
    reply = check_cloud(cloud, problem.question, say)
    if reply is None:
        return None
    answer = data.checker.answer(problem, reply.text or "")
    verdict = None if answer is None else data.checker.verdict(problem, answer)
    return DryCall(
        question=problem.prompt,
        answer=answer,
        right=False if answer is None else None if verdict is None else verdict == 1,
        dollars=reply.dollars,
        at_most=most,
        tokens=reply.prompt_tokens + reply.completion_tokens,
        seconds=reply.seconds,
    )


def _short(text: str, longest: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 3]}..."
