"""Calls of tools, in the form in which a model's chat template writes them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.errors import CheckpointError
from understudy.gateway.engine import JobRefused
from understudy.models.chat import Chat

_PROBE = "probe_of_tools"
_CALL = {
    "id": "call00000",  # nine letters, as some templates want
    "type": "function",
    "function": {"name": _PROBE, "arguments": {"probe": 1}},
}
_ARGUMENTS = ("arguments", "parameters")


@dataclass(frozen=True, slots=True)
class ToolForm:
    """How a call is written: `opening`, a JSON object with the name and the arguments, `closing`.

    names: of the tools that a request offers.
    """

    opening: str
    closing: str
    arguments: str  # the field that holds them
    names: tuple[str, ...] = ()

    @property
    def held(self) -> tuple[str, ...]:
        """What is shown no further before it is known whether it is a call."""
        marker = self.opening.strip()
        return (marker,) if marker else ()

    @property
    def held_first(self) -> tuple[str, ...]:
        return () if self.held else ("{",)

    def calls(self, text: str, forced: bool) -> tuple[str, list[dict[str, Any]]]:
        """The text before the first call, and the calls, as OpenAI writes them; none: all text."""
        start = 0
        if not forced:
            marker = self.opening.strip()
            start = text.find(marker) if marker else len(text) - len(text.lstrip())
            if start < 0 or (not marker and not text[start:].startswith("{")):
                return text, []
        found = [
            {
                "id": f"call_{uuid.uuid4().hex[:24]}",
                "type": "function",
                "function": {"name": each["name"], "arguments": json.dumps(given)},
            }
            for each in _objects(text[start:])
            if isinstance(given := self._arguments(each), Mapping)
            and each.get("name") in self.names
        ]
        return (text[:start], found) if found else (text, [])

    def _arguments(self, call: Mapping[str, Any]) -> Any:
        return next((call[name] for name in (self.arguments, *_ARGUMENTS) if name in call), None)

    def schema(self, tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The JSON schema of a call of one of some tools."""
        calls = [
            {
                "type": "object",
                "properties": {
                    "name": {"const": tool["name"]},
                    self.arguments: tool.get("parameters") or {"type": "object"},
                },
                "required": ["name", self.arguments],
                "additionalProperties": False,
            }
            for tool in tools
        ]
        return calls[0] if len(calls) == 1 else {"anyOf": calls}


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text, one after the other."""
    decoder, place = json.JSONDecoder(), text.find("{")
    while place >= 0:
        try:
            found, end = decoder.raw_decode(text, place)
            yield found
        except (ValueError, RecursionError):
            end = place + 1
        place = text.find("{", end)


def functions_of(tools: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The functions among a request's tools."""
    found = []
    for tool in tools:
        function = tool.get("function") if tool.get("type", "function") == "function" else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise JobRefused("only tools of type function with a name are known here", "tools")
        found.append(function)
    return found


def forced_functions(
    choice: str | Mapping[str, Any], functions: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The functions of which one must be called; none where the model may choose."""
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            raise JobRefused(
                f"tool_choice={choice[:40]}: use auto, none or required", "tool_choice"
            )
        return list(functions) if choice == "required" else []
    wanted = (choice.get("function") or {}).get("name") or choice.get("name")
    named = [function for function in functions if function["name"] == wanted]
    if not named:
        raise JobRefused(f"tool_choice names {wanted!r}, which is none of the tools", "tool_choice")
    return named


def form_of(chat: Chat | None) -> ToolForm | None:
    """How a model's template has calls written; None: it knows no tools."""
    if chat is None or not chat.knows_tools:
        return None
    asked = [{"role": "user", "content": "?"}]
    offered = {"name": _PROBE, "description": "", "parameters": {"type": "object"}}
    tools = [{"type": "function", "function": offered}]
    try:
        before = chat.conversation(asked, tools)
        whole = chat.conversation(
            [*asked, {"role": "assistant", "content": "", "tool_calls": [_CALL]}], tools, False
        )
        return _read_form(before, whole)
    except CheckpointError:
        return _HERMES


# What is assumed of templates that show tools and no calls: the form most models have learnt.
_HERMES = ToolForm("<tool_call>\n", "\n</tool_call>", "arguments")


def _read_form(before: str, whole: str) -> ToolForm:
    turn = whole.removeprefix(before) if whole.startswith(before) else whole
    start = turn.rfind(_PROBE)
    while (start := turn.rfind("{", 0, max(start, 0))) >= 0:
        try:
            call, length = json.JSONDecoder().raw_decode(turn[start:])
        except ValueError:
            continue
        if call.get("name") != _PROBE:
            continue
        known = [name for name in _ARGUMENTS if name in call]
        opening = turn[:start] if whole.startswith(before) else turn[:start].rpartition("\n")[2]
        closing = turn[start + length :]
        return ToolForm(opening.lstrip("\n"), closing, known[0]) if known else _HERMES
    return _HERMES
