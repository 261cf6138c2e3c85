"""Where an answer stands in a completion: after a mark, in a box, in a block of code."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache

from understudy.tasks.numbers import exact_number, last_number

MARK = "####"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_BOX = re.compile(r"\\(?:boxed|fbox)\s*")
_BLOCK = re.compile(r"^[ \t]*```[ \t]*([A-Za-z0-9+.-]*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.S | re.M)
# 'A or B' and 'A or maybe B' choose nothing; 'I' is a word.
_ANOTHER = r"(?!\W*\s(?:or|and)\s(?:[a-z]+\s){0,3}\W*[A-HJ-Z]\b|\s*[,/]\s*[A-Z]\b)"
_A_LETTER = rf"(?: is)?:?\s*[*(\[{{$]*(?-i:([A-Z])(?![A-Za-z']){_ANOTHER})"
_ANSWERED = re.compile("answer" + _A_LETTER, re.I)
_CHOSEN = re.compile("(?:option|choice)" + _A_LETTER, re.I)  # or only spoken of
_LETTER = re.compile(r"[*(\[{$\s]*([A-Za-z])[*)\]}$\s]*[.:]?[*\s]*")
_LETTERED = re.compile(r"[*(\[]*([A-Z])[*]*[.):\]]\s*\S")
_SET = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\{([^{}]*)\}")
_NAMED = re.compile(r"(?:answer|label|category|class|intent)(?: is)?:?\s*(.+)$", re.I | re.M)
_WORDLIKE = re.compile(r"[\W_]+")
_SHORTEST_MENTION = 3  # letters: 'no' and 'a' stand in sentences that give no answer
_LONGEST_SEARCHED = 2_000  # characters
_DENYING = {
    "not",
    "no",
    "non",
    "never",
    "t",
    "cannot",
    "nor",
    "neither",
    "without",
}  # isn't: 'isn t'
_UN = re.compile(r"\bun-", re.I)  # 'un-ham'
_NEAR = 3  # words between a denial and what it denies: 'not really a spam message'


def marked(text: str) -> str | None:
    """The rest of the line after the last '####'; None where nothing follows it."""
    _, mark, after = text.rpartition(MARK)
    line = after.strip().partition("\n")[0].strip()
    return line if mark and line else None


def boxed(text: str) -> str | None:
    r"""What stands in the last \boxed{...}, braces balanced, or after a last '\boxed '."""
    boxes = list(_BOX.finditer(text))
    if not boxes:
        return None
    start = boxes[-1].end()
    if not text.startswith("{", start):
        word = re.match(r"[^\s$.,;]+", text[start:])
        return word[0] if word and boxes[-1][0][-1].isspace() else None
    depth = 0
    for end in range(start, len(text)):
        escaped = text[end - 1] == "\\"
        depth += (text[end] == "{" and not escaped) - (text[end] == "}" and not escaped)
        if depth == 0:
            return text[start + 1 : end].strip() or None
    return None  # cut short


def number_in(text: str, lenient: bool) -> str | None:
    """After the last '####', else boxed; `lenient`: else the last number in the text."""
    found = marked(text)
    if found is None or exact_number(found, units=True) is None:  # '#### Step 1' is a heading
        found = boxed(text) or found
    return found if found or not lenient else last_number(text)


def expression_in(text: str) -> str | None:
    """Boxed, else after the last '####'."""
    return boxed(text) or marked(text)


def program_in(text: str) -> str | None:
    """The last block of Python code, else the last block, else the whole text."""
    blocks = [(language.lower(), body) for language, body in _BLOCK.findall(text)]
    python = [body for language, body in blocks if language in ("python", "python3", "py")]
    found = (python or [body for _, body in blocks] or [text])[-1]
    return found if found.strip() else None


def choice_in(text: str, options: Sequence[str]) -> str | None:
    """The letter of the option that was chosen, as one of the forms that models use.

    'B', '(b).', '**B**', 'B. wet palms', 'the answer is (B)', a boxed letter, or an option's own
    text. A letter beyond the options is no choice.
    """
    text = text.strip()
    letters = LETTERS[: len(options)] if options else LETTERS
    stated = _ANSWERED.findall(text) or _CHOSEN.findall(text)
    last_line = text.rpartition("\n")[2]
    box = _SET.sub(r"\1", boxed(text) or "")
    for found in (box, stated[-1] if stated else None, text, last_line):
        letter = _LETTER.fullmatch(found or "")
        letter = letter or _LETTERED.match(found or "")
        if letter and letter[1].upper() in letters:
            return letter[1].upper()
    by_plain: dict[str, list[int]] = {}
    for i, option in enumerate(options):
        by_plain.setdefault(plain(option), []).append(i)
    chosen = mentioned(text, by_plain)
    same = by_plain[chosen] if chosen else []
    return LETTERS[same[0]] if len(same) == 1 else None


def label_in(text: str, labels: Sequence[str]) -> str | None:
    """The label that was named: alone, on the last or first line, after 'the answer is', or as the
    only one that the text mentions. A first line counts where nothing later names another."""
    by_plain = _by_plain(tuple(labels))
    stated = _NAMED.findall(text)
    for found in (
        text,
        text.strip().rpartition("\n")[2],
        stated[-1] if stated else "",
        boxed(text),
    ):
        if label := by_plain.get(plain(found or "")):
            return label
    first, _, later = text.strip().partition("\n")
    if label := by_plain.get(plain(first)):
        other = mentioned(later, by_plain)
        return label if other is None or by_plain[other] == label else None
    named = mentioned(text, by_plain)
    return by_plain[named] if named else None


def mentioned(text: str, names: Collection[str]) -> str | None:
    """The only one of some plain names that stands in a text as whole words; None where two do.

    A part of a longer name is no mention: 'card' in 'card arrival', where both are names. A name
    that is denied gives nothing: 'this is not spam' does not say what it is.
    """
    words, found = f" {plain(text[:_LONGEST_SEARCHED])} ", set()
    denying = _DENYING | {"un"} if _UN.search(text) else _DENYING
    if words.strip() in names:
        return words.strip()
    for name in sorted(names, key=lambda name: (-len(name), name)):
        parts = words.split(f" {name} ") if len(name) >= _SHORTEST_MENTION else []
        if len(parts) < 2:
            continue
        before = {word for part in parts[:-1] for word in part.split()[-_NEAR:]}
        if before & denying:
            return None
        found.add(name)
        words = " | ".join(parts)
    return found.pop() if len(found) == 1 else None


@lru_cache(maxsize=64)
def _by_plain(labels: tuple[str, ...]) -> dict[str, str]:
    return {plain(label): label for label in labels}


def text_in(text: str) -> str | None:
    """After the last '####', else boxed, else the whole text, blanks made one."""
    return " ".join((marked(text) or boxed(text) or text).split()) or None


def plain(text: str) -> str:
    """Letters and digits alone, in lower case: 'Card arrival.' is 'card_arrival'."""
    return _WORDLIKE.sub(" ", text).strip().lower()
