"""Text as it is shown: whole characters, no stop string, all of it in the end."""

from __future__ import annotations

import random

import pytest

from tests.models.small import write_tokenizer
from understudy.gateway.engine.text import WrittenText
from understudy.models.stop_strings import text_before
from understudy.models.tokens import Tokens

TEXTS = ["héllo wörld 🙂🙃 日本語", "plain", "  blanks first", "a🙂", "naïve\n\nnew", "🇫🇷🇩🇪"]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    folder = tmp_path_factory.mktemp("tokens")
    write_tokenizer(folder)
    return Tokens(folder)


@pytest.mark.parametrize("text", TEXTS)
def test_no_piece_holds_a_part_of_a_character(tokens: Tokens, text: str) -> None:
    written = WrittenText(tokens.decode)
    pieces = [written.add(token) for token in tokens.encode(text)]
    assert len(pieces) > len(text) - 8 or text == "plain"
    assert not any("\ufffd" in piece for piece in pieces)
    assert "".join(pieces) + written.end() == text


def test_a_character_that_is_cut_off_is_left_out(tokens: Tokens) -> None:
    written = WrittenText(tokens.decode)
    pieces = [written.add(token) for token in tokens.encode("ab🙂")[:-1]]
    assert "".join(pieces) + written.end() == written.text == "ab"


def test_bytes_that_are_no_character_do_not_hold_the_rest_up(tokens: Tokens) -> None:
    smile = tokens.encode("🙂")
    ids = [*tokens.encode("a"), *smile[:1] * 9, *tokens.encode("bc"), *smile]
    written = WrittenText(tokens.decode)
    shown = "".join(written.add(token) for token in ids) + written.end()
    assert shown == written.text
    assert shown.startswith("a\ufffd")
    assert shown.endswith("bc🙂")


def test_a_stop_string_is_never_shown(tokens: Tokens) -> None:
    """Over drawn texts and stop strings: what is shown is what stands before the first of them."""
    rng = random.Random(1)
    for _ in range(300):
        text = "".join(rng.choice(["a", "b", "\n", "🙂", " "]) for _ in range(rng.randint(1, 12)))
        stops = ["".join(rng.choice("ab\n🙂") for _ in range(rng.randint(1, 3))) for _ in range(2)]
        written, shown = WrittenText(tokens.decode, stops), ""
        for token in tokens.encode(text):
            shown += written.add(token)
            assert text.startswith(shown)
            if written.stopped:
                break
        shown += written.end()
        before = text_before(text, stops)
        assert shown == written.text == (text if before is None else before)
        assert written.stopped == (before is not None)


def test_a_call_of_a_tool_is_held_back(tokens: Tokens) -> None:
    written = WrittenText(tokens.decode, held=("<tool>",))
    pieces = [written.add(token) for token in tokens.encode("see <b> <tool>{}</tool> on")]
    assert "".join(pieces) == "see <b> "
    assert written.end() == "<tool>{}</tool> on"
    bare = WrittenText(tokens.decode, held_first=("{",))
    assert "".join(bare.add(token) for token in tokens.encode(' {"a": 1} on')) == ""
    other = WrittenText(tokens.decode, held_first=("{",))
    assert "".join(other.add(token) for token in tokens.encode("x {}")) == "x {}"


def test_the_stop_string_that_came_first_is_told(tokens: Tokens) -> None:
    written = WrittenText(tokens.decode, stop=["new", "na", "zz"])
    for token in tokens.encode("so naive"):
        if not written.stopped:
            written.add(token)
    assert (written.text, written.stopped_by) == ("so ", "na")
