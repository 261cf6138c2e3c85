"""Where an answer stands: the marks, boxes, blocks, letters and labels that models write."""

from __future__ import annotations

import pytest

from understudy.tasks.extract import (
    boxed,
    choice_in,
    expression_in,
    label_in,
    number_in,
    program_in,
    text_in,
)

OPTIONS = ("dry palms", "wet palms", "oily palms", "cold palms")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("so 3\n#### 18", "18"),
        ("#### 1\n#### 2", "2"),
        ("####18 \nDone.", "18"),
        ("#### Step 1\nthe result is \\boxed{7}", "7"),
        ("\\boxed{5} and later #### 6", "6"),
        ("I think it is 12", None),
        ("#### ", None),
        ("", None),
    ],
)
def test_a_number_is_marked_or_boxed(text: str, found: str | None) -> None:
    assert number_in(text, lenient=False) == found


def test_only_when_lenient_does_the_last_number_count() -> None:
    assert number_in("I think it is 12, not 11.", lenient=True) == "11"
    assert number_in("3 and #### 4", lenient=True) == "4"
    assert number_in("no idea", lenient=True) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{1} then \\boxed{2}", "2"),
        ("\\fbox{3}", "3"),
        ("\\boxed {4}", "4"),
        ("so \\boxed 5.", "5"),
        ("\\boxed{\\{1,2\\}}", "\\{1,2\\}"),
        ("\\boxed{a{b}", None),
        ("\\boxed{}", None),
        ("no box", None),
        ("{" * 10, None),
    ],
)
def test_a_box_is_balanced(text: str, found: str | None) -> None:
    assert boxed(text) == found


def test_an_expression_is_boxed_before_it_is_marked() -> None:
    assert expression_in("#### Step 2\n\\boxed{x^2}") == "x^2"
    assert expression_in("#### x^2") == "x^2"
    assert expression_in("the answer is x^2") is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```python\na = 1\n```", "a = 1\n"),
        ("```python\na = 1\n```\nor better\n```python\na = 2\n```\nsee", "a = 2\n"),
        ("```python\na = 1\n```\noutput:\n```\n1\n```", "a = 1\n"),
        ("```\na = 1\n```", "a = 1\n"),
        ("```py\na = 1", "a = 1"),
        ("a = 1", "a = 1"),
        ('```python\ns = "```"\n```', 's = "```"\n'),
        ("  \n", None),
    ],
)
def test_a_program_is_the_last_block(text: str, found: str | None) -> None:
    assert program_in(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "B", "b", "B.", "(B)", " B) ", "**B**", "B. wet palms", "(B) wet palms", "B: wet palms",
        "The answer is (B).", "the answer is B", "Answer: B", "So the correct option is **B**.",
        "\\boxed{B}", "\\boxed{\\text{B}}", "wet palms", "Wet palms.", "It is hot.\nB",
        "The answer is A... no, the answer is B.", "$B$", "The best choice is B because it is wet",
        "The answer is B and I am sure",
    ],
)  # fmt: skip
def test_the_chosen_letter(text: str) -> None:
    assert choice_in(text, OPTIONS) == "B"


@pytest.mark.parametrize(
    "text",
    [
        "", "E", "A planet rotates", "Answer with care", "palms", "I do not know", "the answer",
        "The answer is A or B.", "Answer: A, B", "The answer is (A) and (B)", "A or B",
        "The answer is A or maybe B", "The answer is A, or it may be (B).",
    ],
)  # fmt: skip
def test_no_letter_is_made_up(text: str) -> None:
    assert choice_in(text, OPTIONS) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("card_arrival", "card_arrival"),
        ("Card arrival.", "card_arrival"),
        ("The answer is card_arrival", "card_arrival"),
        ("Label: **spam**", "spam"),
        ("It offers a prize.\nspam", "spam"),
        ("\\boxed{spam}", "spam"),
        ("not spam", None),
        ("", None),
    ],
)
def test_a_label_is_one_of_those_known(text: str, found: str | None) -> None:
    assert label_in(text, ("card_arrival", "spam")) == found


LABELS = ("card", "card_arrival", "not_received", "spam", "ham", "no", "lost or stolen card")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The intent is: card_arrival.", "card_arrival"),
        ("The customer's intent is **card arrival**, since it is late.", "card_arrival"),
        ("This message is spam.", "spam"),
        ("I would say it's a spam message", "spam"),
        ("spam\n\nIt offers a prize, as no ham does.", "spam"),
        ("`lost or stolen card`: it was taken.", "lost or stolen card"),
        ("Spam, plainly spam.", "spam"),
        ("spam\nI am sure that it is spam", "spam"),
        ("spam\nNo wait, that is\nham", "ham"),
        ("Category - ham", "ham"),
        ("No.", "no"),
    ],
)
def test_a_chatty_reply_that_mentions_one_label_names_it(text: str, found: str) -> None:
    assert label_in(text, LABELS) == found


@pytest.mark.parametrize(
    "text",
    [
        "It is spam or ham.", "spam, ham", "Labels: card, card_arrival", "This is not spam.",
        "It isn't spam", "This is not really a spam message", "This is not spam, it is ham.",
        "There is no way to tell.", "spammers and hamlets", "Not received? Perhaps a card.",
        "x" * 3_000 + " spam", "un-ham", "Un-spam, I say",
        "spam\nNo wait, that is ham after all",
    ],
)  # fmt: skip
def test_two_labels_or_a_denied_one_name_none(text: str) -> None:
    assert label_in(text, LABELS) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The answer is wet palms.", "B"),
        ("It must be wet palms, since rain makes them so", "B"),
        ("Wet palms or dry palms", None),
        ("not wet palms", None),
    ],
)
def test_an_options_own_text_in_a_sentence_chooses_it(text: str, found: str | None) -> None:
    assert choice_in(text, OPTIONS) == found


def test_an_option_of_signs_is_not_chosen_by_an_empty_answer() -> None:
    assert choice_in("", ("+", "minus")) is None
    assert choice_in("...", ("+", "minus")) is None


def test_what_was_answered_counts_before_what_was_spoken_of() -> None:
    assert choice_in("The answer is B. Option A is wrong because it is dry.", OPTIONS) == "B"
    assert choice_in("I choose option B.", OPTIONS) == "B"


def test_a_text_is_marked_boxed_or_all_of_it() -> None:
    assert text_in("thinking\n#### Paris ") == "Paris"
    assert text_in(" New \n York ") == "New York"
    assert text_in(" ") is None


@pytest.mark.parametrize(
    "text",
    ["{" * 50_000, "\\boxed{" * 20_000, "```" * 30_000, "answer is " * 10_000, "#" * 100_000],
)
def test_a_long_text_is_searched_at_once(text: str) -> None:
    number_in(text, lenient=True)
    expression_in(text)
    program_in(text)
    choice_in(text, OPTIONS)
    label_in(text, ("spam", "ham"))
