"""A job in tokens: through the chat template, or as the run asks its tasks' questions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from understudy.errors import CheckpointError, RunError
from understudy.gateway.engine import Job, JobRefused
from understudy.gateway.engine.constrained import Grammars
from understudy.gateway.engine.options import EngineOptions
from understudy.gateway.engine.prefixes import common
from understudy.gateway.engine.rows import Prepared
from understudy.gateway.engine.tools import ToolForm, forced_functions, form_of, functions_of
from understudy.gateway.engine.vocabulary import Vocabulary
from understudy.models.policy import Policy
from understudy.tasks.recognise import recognise, typed
from understudy.types import Question, Turn

# In place of a question, to see what stands before any: no text has this character.
_ANY = "\ue000"
_PLACE = "\ue001"  # of a message in a conversation with tools

# Turns and the name of a task to the question as its run asks it; one with other words in it.
AsAsked = Callable[[Sequence[Turn], str], tuple[Question, Question]]


class Prompts:
    """Jobs for one base. Not for several threads at once: tokenizers have a state.

    as_asked: how a run asks; None: as the messages are.
    """

    def __init__(
        self,
        policy: Policy,
        options: EngineOptions,
        longest: int | None = None,
        as_asked: AsAsked | None = None,
    ) -> None:
        self.tokens, self.room = policy.tokens, policy.longest
        self.longest_answer = longest or options.longest_answer
        self.as_asked = as_asked
        self.vocabulary = Vocabulary(policy.tokens)
        self.grammars = Grammars(policy.tokens, policy.model.vocabulary)
        self._form: ToolForm | None = None
        self._form_known = False
        self._begun = lru_cache(maxsize=64)(self._ids)
        self._readable = lru_cache(maxsize=4096)(lambda letter: not self.tokens.unknown(letter))

    def prepare(self, job: Job) -> Prepared:
        """Raises JobRefused."""
        try:
            prepared = self._prepared(job)
        except (CheckpointError, RunError) as error:
            raise JobRefused(str(error), "messages") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
            raise JobRefused(f"the request cannot be read ({reason})", "messages") from error
        count = len(prepared.ids)
        if count >= self.room:
            raise JobRefused(
                f"the conversation has {count} tokens; this model reads fewer than {self.room}",
                "messages",
            )
        most = self.longest_answer if job.max_tokens is None else job.max_tokens
        if most < 1:
            raise JobRefused(f"max_tokens={most}: at least 1 is needed", "max_tokens")
        schema = job.schema if prepared.schema is None else prepared.schema
        if schema is not None:
            self.grammars.check()
        return replace(prepared, most=min(most, self.room - count), schema=schema)

    def _prepared(self, job: Job) -> Prepared:
        if job.prompt is not None:
            self._check_readable([job.prompt])
            ids = self.tokens.encode_plain(job.prompt, begun=True)
            while ids and ids[-1] in self.tokens.ends:  # some tokenizers end what goes on
                ids.pop()
            if not ids:
                raise JobRefused("the prompt is empty", "prompt")
            return Prepared(job, tuple(ids), self.vocabulary, 0, stop=job.stop)
        messages = [_plain(message) for message in job.messages]
        roles = {message["role"] for message in messages}
        calls = any(message.get("tool_calls") for message in messages)
        offers = bool(job.tools) and job.tool_choice != "none"
        if offers or calls or not roles <= {"system", "user", "assistant"}:
            return self._with_tools(job, messages, offers)
        turns = _one_system([Turn(each["role"], each["content"]) for each in messages])
        question, begun = self._question(turns, job.task)
        self._check_readable([turn.content for turn in question.messages])
        row, before = self._ids(question), self._begun(begun)
        stop = tuple(dict.fromkeys((*question.options.stop, *job.stop)))
        return Prepared(job, row, self.vocabulary, 0, common(row, before), stop)

    def _question(self, turns: Sequence[Turn], task: str) -> tuple[Question, Question]:
        if not turns or not any(turn.content.strip() for turn in turns):
            raise JobRefused("the conversation is empty; ask something", "messages")
        if not self._readable("A"):  # a vocabulary without capitals, which is the tiny model's
            turns = _known_alone(turns) or [Turn(t.role, t.content.lower()) for t in turns]
        if self.as_asked is not None:
            return self.as_asked(turns, task)
        system = tuple(turn for turn in turns if turn.role == "system")
        return Question(tuple(turns)), Question((*system, Turn("user", _ANY)))

    def _ids(self, question: Question) -> tuple[int, ...]:
        ids, mask = self.tokens.encode_questions([question])
        return tuple(ids[0][mask[0]].tolist())

    def _check_readable(self, texts: Sequence[str]) -> None:
        letters = {letter for text in texts for letter in text}
        if unknown := sorted(letter for letter in letters if not self._readable(letter)):
            raise JobRefused(
                f"this model has no token for {''.join(unknown)[:40]!r}; docs/tiny-model.md says "
                "what it reads",
                "messages",
            )

    def _with_tools(
        self, job: Job, messages: Sequence[Mapping[str, Any]], offers: bool
    ) -> Prepared:
        form = self._tool_form()
        functions = functions_of(job.tools) if offers else []
        form = replace(form, names=tuple(str(each["name"]) for each in functions))
        forced = forced_functions(job.tool_choice, functions) if offers else []
        offered = job.tools if offers else ()
        ids = self._encoded(self._conversation(messages, offered), messages)
        begun = [message for message in messages if message["role"] == "system"]
        begun.append({"role": "user", "content": _ANY})
        shared = common(ids, self._encoded(self._conversation(begun, offered), begun))
        if forced:
            ids += self.tokens.encode(form.opening)
        return Prepared(
            job,
            tuple(ids),
            self.vocabulary,
            0,
            shared,
            job.stop,
            schema=form.schema(forced) if forced else None,
            tools=form if offers else None,
            forced=bool(forced),
        )

    def _tool_form(self) -> ToolForm:
        if not self._form_known:
            self._form, self._form_known = form_of(self.tokens.chat), True
        if self._form is None:
            raise JobRefused(
                "this model's chat template knows no tools; leave tools out, or let the cloud "
                "answer",
                "tools",
            )
        return self._form

    def _conversation(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> str:
        """The conversation with a mark in place of each message in which others' text is."""
        assert self.tokens.chat is not None
        turns = [Turn("system", m["content"]) for m in messages if m["role"] == "system"]
        system = self.tokens.system_message(turns)
        marked: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        for message in messages:
            if message["role"] != "system":
                own = _PLACE if _is_marked(message) else message["content"]
                marked.append({**message, "content": own})
        return self.tokens.chat.conversation(marked, tools)

    def _encoded(self, text: str, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Special tokens in messages are encoded as plain text, so that none ends its own turn."""
        contents = [str(message["content"]) for message in messages if _is_marked(message)]
        parts = text.split(_PLACE)
        if len(parts) != len(contents) + 1:
            raise JobRefused(
                "this model's chat template does not show every message of a conversation with "
                "tools",
                "messages",
            )
        if not any(self.tokens.controls(content) for content in contents):
            whole = [part for pair in zip(parts, contents, strict=False) for part in pair]
            return self.tokens.encode("".join([*whole, parts[-1]]))
        ids = self.tokens.encode(parts[0])
        for content, after in zip(contents, parts[1:], strict=True):
            ids += [*self.tokens.encode_plain(content), *self.tokens.encode(after)]
        return ids


def _is_marked(message: Mapping[str, Any]) -> bool:
    return message["role"] != "system" and bool(message["content"])


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """One of OpenAI's messages with its content as one text, and calls as templates want them."""
    role = str(message.get("role", ""))
    found: dict[str, Any] = dict(message) | {
        "role": {"developer": "system", "function": "tool"}.get(role, role),
        "content": _text(message.get("content")),
    }
    if calls := message.get("tool_calls"):
        found["tool_calls"] = [_call(call) for call in calls]
    return found


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    parts = []
    for part in content:
        text = part.get("text", part.get("refusal")) if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            kind = part.get("type", "?") if isinstance(part, Mapping) else type(part).__name__
            raise JobRefused(f"this model reads text only, no content of type {kind}", "messages")
        parts.append(text)
    return "".join(parts)


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = dict(call.get("function") or {})
    try:
        function["arguments"] = json.loads(function.get("arguments") or "{}")
    except (TypeError, ValueError):
        raise JobRefused("the arguments of a tool call are no JSON", "messages") from None
    return {**call, "function": function}


def _known_alone(turns: Sequence[Turn]) -> list[Turn]:
    """The last question alone, where it is a generated one; else nothing. The tiny model has seen
    nothing before a question, and reads what is there as a part of it."""
    problem = recognise(typed(turns[-1].content)) if turns[-1].role == "user" else None
    return [Turn("user", problem.prompt)] if problem is not None else []


def _one_system(turns: Sequence[Turn]) -> list[Turn]:
    """System messages as one, at the beginning."""
    system = [turn.content for turn in turns if turn.role == "system" and turn.content]
    others = [turn for turn in turns if turn.role != "system"]
    return [*([Turn("system", "\n".join(system))] if system else []), *others]
