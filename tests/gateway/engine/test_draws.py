"""Every row is drawn in its own way, and noted as in training."""

from __future__ import annotations

import torch

from understudy.gateway.engine.draws import Way, draw, nucleus
from understudy.models.drawing import choose

ASK = 2


def logits(rows: int, vocabulary: int = 40, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, vocabulary, generator=generator) * 3


def test_greedy_rows_are_noted_as_an_examination_notes_them() -> None:
    given = logits(5)
    drawn = draw(given, ASK, [Way()] * 5)
    tokens, noted = choose(given.clone(), ASK, 0.0, float("-inf"), None)
    assert [each.token for each in drawn] == tokens.tolist()
    assert [each.logprob for each in drawn] == noted[0].tolist()
    assert [each.margin for each in drawn] == noted[2].tolist()
    assert [each.entropy for each in drawn] == noted[3].tolist()


def test_a_row_is_drawn_as_alone_whoever_is_beside_it() -> None:
    given = logits(4)
    allowed = torch.zeros(40, dtype=torch.bool)
    allowed[7:12] = True
    ways = [
        Way(),
        Way(temperature=0.8, top_p=0.6, uniform=0.4),
        Way(allowed=allowed, top=3),
        Way(temperature=1.7, uniform=0.9, top=0),
    ]
    together = draw(given, ASK, ways)
    for row, way in enumerate(ways):
        (alone,) = draw(given[row : row + 1], ASK, [way])
        assert alone.token == together[row].token
        for name in ("logprob", "margin", "entropy"):
            assert abs(getattr(alone, name) - getattr(together[row], name)) < 1e-5


def test_a_draw_follows_temperature_and_never_asks() -> None:
    given = logits(1)
    given[0, ASK] = 50.0
    known = given[0].clone()
    known[ASK] = float("-inf")
    expected = (known / 0.7).softmax(dim=0)
    uniforms = [(i + 0.5) / 4000 for i in range(4000)]
    found = torch.zeros(40)
    for each in draw(given.expand(4000, -1), ASK, [Way(0.7, uniform=u) for u in uniforms]):
        found[each.token] += 1
    assert found[ASK] == 0
    torch.testing.assert_close(found / 4000, expected, atol=1e-3, rtol=0)


def test_log_probabilities_are_the_models_own_whatever_is_allowed() -> None:
    given = logits(1)
    known = given[0].clone()
    known[ASK] = float("-inf")
    logprobs = known.log_softmax(dim=0)
    allowed = torch.zeros(40, dtype=torch.bool)
    allowed[int(logprobs.argmin())] = allowed[3] = True
    (drawn,) = draw(given, ASK, [Way(allowed=allowed, top=2)])
    assert drawn.token == 3
    assert abs(drawn.logprob - float(logprobs[3])) < 1e-5
    values, ids = logprobs.topk(2)
    assert [token for token, _ in drawn.top] == ids.tolist()
    assert all(abs(a - b) < 1e-5 for (_, a), b in zip(drawn.top, values.tolist(), strict=True))


def test_a_nucleus_is_the_fewest_likely_tokens() -> None:
    weights = torch.tensor([1.0, 0.25, 0.5, 0.25])
    assert nucleus(weights, 0.5).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert nucleus(weights, 0.51).tolist() == [1.0, 0.0, 0.5, 0.0]
    assert nucleus(weights, 0.0).tolist() == [1.0, 0.0, 0.0, 0.0]
    many = torch.rand(5000, generator=torch.Generator().manual_seed(0))
    kept = nucleus(many, 0.9)
    values = many.sort(descending=True).values.cumsum(dim=0)
    assert int((kept > 0).sum()) == int((values < 0.9 * many.sum()).sum()) + 1
