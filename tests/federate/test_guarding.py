"""What leaves a client of its weights: a bounded change of what the server knows already."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.federate.test_session import Quiet, content, ran, run_of
from tests.federate.tiny import config_of
from understudy.errors import ConfigError
from understudy.federate.crossing import ABOUT
from understudy.federate.methods.averaged import weights_of
from understudy.federate.population import Federation
from understudy.federate.session import new_federation, resume_federation
from understudy.federate.summary import leaves
from understudy.link.carrier import Message

CLIP = 0.002


def weights(given: Message) -> dict[str, torch.Tensor]:
    return {n: each for n, each in given.parcels[0].arrays.items() if n != ABOUT}


def norm(one: Any, other: Any) -> float:
    return float(torch.stack([(one[n] - other[n]).norm() for n in one]).norm())


def test_a_change_has_the_norm_asked_for_and_goes_on_from_what_the_server_sent() -> None:
    settings: dict[str, Any] = {
        "method": {"kind": "head"},
        "server": "average",
        "tasks": 1,
        "privacy": {"clip": CLIP},
    }
    _, crossed = ran(**settings)
    client: Any = Federation(config_of(**settings)).actor(0, 1)
    known = weights_of(client.method.modules)
    mine = [each for each in crossed if 1 in (each.sender, each.receiver)]
    assert [each.sender for each in mine] == [1, 0, 1, 0]
    for given in mine:
        if given.sender == 1:
            assert norm(weights(given), known) == pytest.approx(CLIP, rel=1e-3)
        known = weights(given)


def test_noise_is_drawn_for_every_number() -> None:
    settings: dict[str, Any] = {"tasks": 1, "rounds": 1}
    _, plain = ran(**settings, privacy={"clip": 100.0})
    _, noisy = ran(**settings, privacy={"clip": 100.0, "noise": 0.001})
    pairs = [
        (weights(one), weights(other))
        for one, other in zip(plain, noisy, strict=True)
        if one.sender == 1 and one.kind == "generator"
    ]
    for one, other in pairs:
        noise = torch.cat([(other[name] - one[name]).flatten() for name in one])
        assert float(noise.std()) == pytest.approx(0.1, rel=0.1)
    features = [
        torch.equal(weights(one)["features"], weights(other)["features"])
        for one, other in zip(plain, noisy, strict=True)
        if one.sender == 1 and one.kind == "features"
    ]
    assert features == [True]  # they have a bound of their own


def test_a_run_that_stops_ends_the_same(tmp_path: Any) -> None:
    privacy = {"privacy": {"clip": 0.1, "noise": 0.01}}
    config = run_of(variants={"guarded": privacy}, seeds=[0])
    whole = new_federation(tmp_path / "whole", config, Quiet())
    with pytest.raises(KeyboardInterrupt):
        new_federation(tmp_path / "parts", config, Quiet(3))
    begun = whole.open(tmp_path / "parts")
    resume_federation(begun, config, Quiet())
    assert content(begun) == content(whole)


def test_it_is_said_and_refused_where_nothing_is_sent() -> None:
    config = config_of(privacy={"clip": 0.5, "noise": 2})
    assert "a norm of 0.5 at most, with noise of 2 times that" in " ".join(leaves(config))
    with pytest.raises(ConfigError, match=r"clip=0.5 bounds what is sent"):
        config_of(privacy={"clip": 0.5}, server="none")
    with pytest.raises(ConfigError, match=r"noise=2.0 is a multiple of clip; set clip"):
        config_of(privacy={"noise": 2})
