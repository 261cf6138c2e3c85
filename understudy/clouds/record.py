"""A record of replies on disk: reply logs of earlier runs, or lines of question and reply."""

from __future__ import annotations

import errno
import gzip
import io
import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from understudy.errors import ConfigError
from understudy.run import RunDirectory
from understudy.types import Question, Reply

_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)
_NEEDED = ("text", "prompt_tokens", "completion_tokens", "dollars")
_OF_A_REPLY = {each.name for each in fields(Reply)}


@dataclass(frozen=True, slots=True)
class RecordedReply:
    """One line. question: None where the line holds only its digest."""

    digest: str
    question: Question | None
    reply: Reply


def record_files(path: Path) -> list[Path]:
    """The file itself, or the reply logs of a run's directory."""
    if not path.is_dir():
        return [path]
    run = RunDirectory(path)
    found = [log for log in (run.replies, run.examination_replies) if log.exists()]
    if not found:
        raise ConfigError(f"cloud.files: {path} is a folder without a log of replies")
    return found


def read_record(path: Path) -> Iterator[RecordedReply]:
    """Every line of a file, gzip-compressed or not. A last line that was cut short is left out:
    the process that wrote it was killed."""
    content = _content(path)
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield parsed_line(json.loads(line))
        except _UNREADABLE as error:
            if number == len(lines):
                return
            reason = f"not JSON: {error}" if isinstance(error, json.JSONDecodeError) else error
            raise ConfigError(f"{path}: line {number} is no recorded reply ({reason})") from None


def parsed_line(record: Mapping[str, Any]) -> RecordedReply:
    """A line of a reply log, or one with `question` and `reply`, or one with `digest` alone."""
    if not isinstance(record, Mapping):
        raise ValueError("a line is a mapping")
    question = _question(record)
    digest = record.get("digest", question.digest if question else None)
    if digest is None:
        raise ValueError("it has no question; write question, messages or digest")
    if question is not None and digest != question.digest:
        raise ValueError(f"its digest is {digest}, but its question has {question.digest}")
    reply = dict(record) | ({"text": record["reply"]} if "reply" in record else {})
    for name in _NEEDED:
        if name not in reply:
            hint = "; no price is guessed, so write 0 where it is free" if name == "dollars" else ""
            raise ValueError(f"{'reply' if name == 'text' else name} is missing{hint}")
    for name in (*_NEEDED[1:], "seconds"):
        if not _is_amount(reply.get(name, 0)):
            raise ValueError(f"{name}={reply[name]!r} is no number of at least 0")
    if not isinstance(reply["text"], str | None):
        raise ValueError(f"reply={reply['text']!r} is no text")
    if reply["text"] is None and not reply.get("error"):
        reply["error"] = "no answer"
    known = {name: value for name, value in reply.items() if name in _OF_A_REPLY}
    return RecordedReply(digest, question, Reply.from_json(known))


def line_of(recorded: RecordedReply) -> bytes:
    """The line of a record, with the digest of its question."""
    question = {} if recorded.question is None else recorded.question.to_json()
    content = {"digest": recorded.digest} | question | recorded.reply.to_json()
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"


def compressed(path: Path, lines: bytes) -> bytes:
    """Lines as they stand in a file of that name. Equal lines give equal bytes."""
    return gzip.compress(lines, mtime=0) if path.suffix == ".gz" else lines


def repair(path: Path) -> None:
    """Make a file ready for new lines: a last line that was cut short goes, a whole one ends."""
    with _alone(path) as file:
        raw = file.read()
        if _is_compressed(raw) or raw.endswith(b"\n") or not raw:
            return
        start = raw.rfind(b"\n") + 1
        try:
            parsed_line(json.loads(raw[start:]))
        except _UNREADABLE:
            file.truncate(start)
        else:
            file.write(b"\n")


def append_line(path: Path, recorded: RecordedReply) -> None:
    """Add a line, while no other process does."""
    content = compressed(path, line_of(recorded))
    with _alone(path) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            file.truncate(end)  # half a line would spoil the next one
            raise


@contextmanager
def _alone(path: Path) -> Iterator[io.FileIO]:
    """The file, for this process alone."""
    import fcntl

    with io.FileIO(path, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        yield file


def _question(record: Mapping[str, Any]) -> Question | None:
    if "messages" in record:
        return Question.from_json(record)
    if "question" not in record:
        return None
    prompt, instruction = record["question"], record.get("instruction") or ""
    if not isinstance(prompt, str) or not isinstance(instruction, str):
        raise ValueError("question and instruction are texts")
    return Question.of(prompt, instruction)


def _is_amount(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if _is_compressed(raw) else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"{path}: cannot be decompressed ({error}); restore the file") from None
    except OSError as error:
        raise ConfigError(f"cloud.files: {path} cannot be read ({error.strerror})") from None


def _is_compressed(raw: bytes) -> bool:
    return raw.startswith(b"\x1f\x8b")
