"""The tokenizer: every text of every family survives it, here and in transformers."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.models.small import questions
from understudy.errors import CheckpointError
from understudy.models.tokens import ASK, END, PAD, PROMPT_END, Tokens, build_tokenizer
from understudy.tasks import FAMILIES, LEVELS
from understudy.tasks.family import Draft


def drafts(name: str, count: int = 60) -> list[Draft]:
    rng = random.Random(name)
    return [FAMILIES[name].draw(rng, level) for level in LEVELS for _ in range(count)]


@pytest.fixture(scope="module")
def theirs(folder: Path) -> transformers.PreTrainedTokenizerBase:
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("name", FAMILIES)
def test_prompts_and_worked_answers_round_trip(name: str, tokens: Tokens) -> None:
    for draft in drafts(name):
        for text in (draft.prompt + PROMPT_END, draft.worked):
            ids = tokens.encode(text)
            assert tokens.decode(ids) == text
            assert not {tokens.pad, tokens.end, tokens.ask} & set(ids)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_word_of_a_family_is_one_token(name: str, tokens: Tokens) -> None:
    for word in FAMILIES[name].words:
        assert tokens.tokenizer.token_to_id(word) is not None
        assert len(tokens.encode(word)) == 1
    used = {i for d in drafts(name) for i in tokens.encode(d.prompt) + tokens.encode(d.worked)}
    for word in FAMILIES[name].words:  # nor is any of them spelt out where it should stand
        assert tokens.tokenizer.token_to_id(word) in used, word


@pytest.mark.parametrize("name", FAMILIES)
def test_transformers_gives_the_same_ids_and_the_same_text(
    name: str, tokens: Tokens, theirs: transformers.PreTrainedTokenizerBase
) -> None:
    for draft in drafts(name, 20):
        for text in (draft.prompt + PROMPT_END, draft.worked + END, draft.worked + ASK):
            ids = tokens.encode(text)
            assert theirs(text)["input_ids"] == ids
            assert theirs.decode(ids) == text
            shown = theirs.decode(ids, skip_special_tokens=True)
            assert shown == text.removesuffix(END).removesuffix(ASK)


def test_transformers_knows_the_special_tokens(
    tokens: Tokens, theirs: transformers.PreTrainedTokenizerBase
) -> None:
    assert (theirs.pad_token_id, theirs.eos_token_id) == (tokens.pad, tokens.end)
    assert theirs.convert_tokens_to_ids(ASK) == tokens.ask
    assert len(theirs) == tokens.tokenizer.get_vocab_size()


@given(st.text("abz019 +-*%/=,.:;?#><[]()\n", max_size=40))
def test_any_known_characters_round_trip(text: str) -> None:
    """Blanks at either end, doubled, or before punctuation are kept."""
    tokenizer = SMALL
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


SMALL = build_tokenizer(["max", " a", "[::-1]", "(x)", "x[", "z"])


def test_the_longest_word_wins() -> None:
    tokenizer = build_tokenizer(["sum", "sums", " sums", "[", "x["])
    assert tokenizer.encode("sums").tokens == ["sums"]
    assert tokenizer.encode("a sums").tokens == ["a", " sums"]
    assert tokenizer.encode("x[").tokens == ["x["]


def test_no_two_tokens_share_an_id() -> None:
    for words in ([], ["max", "max", " max"], [w for f in FAMILIES.values() for w in f.words]):
        tokenizer: Tokenizer = build_tokenizer(words)
        ids = sorted(tokenizer.get_vocab().values())
        assert ids == list(range(tokenizer.get_vocab_size()))


def test_prompts_are_padded_on_the_left_and_end_in_a_line_break(tokens: Tokens) -> None:
    texts = ["3+4", "", "next: 1 2 3 4"]
    ids, mask = tokens.encode_questions(questions(*texts))
    for row, real, text in zip(ids, mask, texts, strict=True):
        assert tokens.decode(row[real].tolist()) == text + PROMPT_END
        assert (row[~real] == tokens.pad).all()
        assert torch.equal(real, real.sort().values)  # false, then true
    assert mask[:, -1].all()


def test_completions_are_padded_on_the_right(tokens: Tokens) -> None:
    texts = ["#7" + END, "1,2#3" + END, ASK, ""]
    ids, mask = tokens.encode_completions(texts)
    assert ids.dtype == torch.long
    assert mask.sum(dim=1).tolist() == [3, 6, 1, 0]
    for row, real, text in zip(ids, mask, texts, strict=True):
        assert tokens.decode(row[real].tolist()) == text.removesuffix(END)
        assert torch.equal(real, real.sort(descending=True).values)


def test_unknown_characters_of_a_completion_leave_no_hole(tokens: Tokens) -> None:
    """A cloud writes capitals and signs that the vocabulary lacks: the rest is still learned."""
    ids, mask = tokens.encode_completions(["Hé §5#7" + END, "#7" + END])
    assert tokens.decode(ids[0][mask[0]].tolist()) == " 5#7"
    assert ids[0][mask[0]][-1] == tokens.end
    assert torch.equal(mask[0], mask[0].sort(descending=True).values)


def test_decoding_shows_the_request_and_hides_the_ends(tokens: Tokens) -> None:
    assert tokens.decode(tokens.encode(f"{PAD}1,{ASK}{END}")) == f"1,{ASK}"


@pytest.mark.parametrize("text", [None, "", "{}", "[]"])
def test_a_broken_tokenizer_is_refused(folder: Path, tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        Tokens(tmp_path)


def without(token: str, folder: Path, place: Path) -> Path:
    """The files of a tokenizer, one of its special tokens renamed."""
    shutil.copy(folder / "tokenizer_config.json", place)
    text = (folder / "tokenizer.json").read_text()
    (place / "tokenizer.json").write_text(text.replace(token, "<other>"))
    return place


def test_a_tokenizer_without_an_end_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="eos_token"):
        Tokens(without(END, folder, tmp_path))


def test_a_tokenizer_without_padding_pads_with_its_end(folder: Path, tmp_path: Path) -> None:
    tokens = Tokens(without(PAD, folder, tmp_path))
    assert tokens.pad == tokens.end


def test_a_tokenizer_without_the_request_gets_it(folder: Path, tmp_path: Path) -> None:
    tokens = Tokens(without(ASK, folder, tmp_path))
    assert tokens.added
    assert tokens.ask == Tokens(folder).tokenizer.get_vocab_size()
    assert tokens.encode(f"1{ASK}")[-1] == tokens.ask
