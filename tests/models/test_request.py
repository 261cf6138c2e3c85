"""Asking: the token that a checkpoint lacked, its row, and the request in words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.models.small import TEXTS, questions, write_checkpoint
from understudy.models.built_in import BuiltInModel
from understudy.models.policy import IN_WORDS, Policy
from understudy.models.sampling import Completions, Drawing, Prompts
from understudy.models.tokens import ASK, REQUEST
from understudy.objectives import sequence_ask_probability

BOTH = pytest.mark.parametrize("backend", ["builtin", "transformers"])
ROOM = pytest.mark.parametrize("rows", [320, 330], ids=["grown", "spare"])


@BOTH
@ROOM
@pytest.mark.parametrize("tied", [False, True])
@torch.no_grad()
def test_the_row_is_the_mean_of_the_words_that_ask(
    backend: Any, rows: int, tied: bool, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path, "llama", vocab_size=rows, tie_word_embeddings=tied)
    policy = Policy.load(str(tmp_path), backend=backend)
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert policy.tokens.added
    assert policy.tokens.ask == 320
    words = policy.tokens.encode_plain(REQUEST)
    kept = torch.arange(320)
    for ours, theirs in zip(
        (policy.model.embedding, policy.model.head),
        (plain.get_input_embeddings(), plain.get_output_embeddings()),
        strict=True,
    ):
        assert len(ours.weight) == max(rows, 321)
        assert torch.equal(ours.weight[kept], theirs.weight[kept])
        torch.testing.assert_close(ours.weight[320], theirs.weight[words].mean(dim=0))
    prompts = policy.prompts(questions(*TEXTS))
    drawn = policy.sample(prompts, 1, Drawing(4, temperature=0.0))
    first = plain(prompts.ids[:1][prompts.mask[:1]][None]).logits[0, -1]
    others = first[:320].amax()
    lead = first[words].mean() - max(others, first[320:rows][1:].amax() if rows > 321 else others)
    torch.testing.assert_close(drawn.ask_margins[0, 0], lead, atol=1e-4, rtol=1e-4)


@BOTH
@ROOM
def test_a_saved_model_has_its_request(backend: Any, rows: int, tmp_path: Path) -> None:
    """transformers' tokenizer and model agree with ours on what was added."""
    write_checkpoint(tmp_path / "base", "qwen2-tied", vocab_size=rows)
    policy = Policy.load(str(tmp_path / "base"), backend=backend)
    policy.save(tmp_path / "saved")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert tokenizer.convert_tokens_to_ids(ASK) == policy.tokens.ask == 320
    text = f"How many dogs?{ASK}"
    assert tokenizer(text)["input_ids"] == policy.tokens.encode(text)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert torch.equal(model.get_input_embeddings().weight, policy.model.embedding.weight)
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["vocab_size"] == max(rows, 321)
    for other in ("builtin", "transformers"):
        again = Policy.load(str(tmp_path / "saved"), backend=other)
        assert not again.tokens.added
        assert torch.equal(again.model.head.weight, policy.model.head.weight)


def test_saved_configs_keep_what_the_source_said(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "base", "llama")
    path = tmp_path / "base" / "config.json"
    told = {"eos_token_id": [0, 2], "pad_token_id": 7, "bos_token_id": 1, "a_key_of_ours": "kept"}
    path.write_text(json.dumps(json.loads(path.read_text()) | told))
    Policy.load(str(tmp_path / "base")).save(tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert {key: config[key] for key in told} == told


def drawn_as(policy: Policy, texts: list[str]) -> Completions:
    """Completions with these texts, with margins that fall from row to row."""
    ids, mask = policy.tokens.encode_completions(texts)
    margins = torch.arange(0, -len(ids), -1.0)[:, None].expand(ids.shape).clone()
    zeros = torch.zeros(ids.shape)
    unlikely = torch.full(ids.shape, -20.0)
    last = ids.gather(1, mask.sum(dim=1, keepdim=True) - 1).squeeze(1)
    asked = last == policy.tokens.ask
    return Completions(ids, mask, zeros, unlikely, margins, zeros, asked, asked)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return Policy.load(str(write_checkpoint(tmp_path_factory.mktemp("said"), "llama")))


SAID = [
    "The answer is 7",
    f"So I think {REQUEST}",
    f"Tom{ASK}",
    "<unknwon> I need externl assistance</unknown>",
    f"{REQUEST} or rather no, I can solve this one: 7",
]


def test_a_request_in_words_counts_as_asking(policy: Policy) -> None:
    def engine(_: Policy, prompts: Prompts, group: int, drawing: Drawing, luck: Any) -> Completions:
        return drawn_as(policy, SAID)

    speaking = replace(policy, engine=engine)
    prompts = policy.prompts(questions(*SAID))
    free = speaking.sample(prompts, 1, Drawing(40))
    assert free.asked.tolist() == [False, True, True, True, False]
    forbidden = speaking.sample(prompts, 1, Drawing(40, 0.0, ask_shift=float("-inf")))
    assert forbidden.asked.tolist() == [False, False, True, False, False]
    # Words ask with certainty: the shift of the token, which cannot move them, makes room for them.
    assert free.ask_chances.sum().round(decimals=3) == 2
    assert forbidden.ask_chances.max() < 1e-3
    # What a regulariser may pull at is the token's own probability.
    assert sequence_ask_probability(free.ask_logprobs, free.mask).max() < 1e-3
    assert free.in_words is not None
    assert free.in_words.tolist() == [False, True, False, True, False]
    for drawn in (free, forbidden):
        lead = drawn.ask_margins.masked_fill(~drawn.mask, float("-inf")).amax(dim=1)
        # Beyond every threshold that leads of logits could need, still in the order of the leads.
        assert lead.tolist() == [0, IN_WORDS - 1, -2, IN_WORDS - 3, -4]
    quiet = replace(speaking, tokens=type(policy.tokens)(policy.folder, request=""))
    assert quiet.sample(prompts, 1, Drawing(40)).asked.tolist() == [
        False,
        False,
        True,
        False,
        False,
    ]


def test_a_vocabulary_that_cannot_write_the_request_is_not_searched_for_it() -> None:
    tiny = Policy.load("tiny")
    assert not tiny.tokens.writes_request
    assert isinstance(tiny.model, BuiltInModel)


def test_several_ends_end_a_completion(policy: Policy) -> None:
    several = replace(policy, tokens=type(policy.tokens)(policy.folder))
    several.tokens.ends = (several.tokens.end, *range(40, 200))
    drawing = Drawing(12)
    luck = drawing.uniforms(4 * len(TEXTS), 0)
    drawn = several.sample(several.prompts(questions(*TEXTS)), 4, drawing, luck)
    for row, real, finished in zip(drawn.tokens, drawn.mask, drawn.finished, strict=True):
        before, last = row[real][:-1].tolist(), int(row[real][-1])
        stops = {*several.tokens.ends, several.tokens.ask}
        assert not stops & set(before)
        assert bool(finished) == (last in stops)
    assert drawn.finished.sum() > len(TEXTS)
