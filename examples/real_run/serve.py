"""Serve a checkpoint folder as an OpenAI-compatible chat endpoint: a cloud of one's own.

    python examples/real_run/serve.py build/real/cloud --port 8011

Requests that wait are answered together in one batch, greedily. It is for examples and studies:
one model, no keys, no streaming.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass
from typing import Any

import torch
from aiohttp import web

from understudy.models.policy import Policy
from understudy.models.sampling import Drawing
from understudy.types import Question, Turn

_LONGEST = 512


@dataclass(frozen=True, slots=True)
class Waiting:
    """A question on its way to an answer: (text, prompt tokens, completion tokens, finished)."""

    question: Question
    longest: int
    answer: asyncio.Future[tuple[str, int, int, bool]]


class Endpoint:
    """One model behind /v1/chat/completions."""

    def __init__(self, policy: Policy, name: str, at_once: int) -> None:
        self.policy, self.name, self.at_once = policy, name, at_once
        self.waiting: asyncio.Queue[Waiting] = asyncio.Queue()

    async def chat(self, request: web.Request) -> web.Response:
        asked = await request.json()
        turns = tuple(Turn(each["role"], each["content"]) for each in asked["messages"])
        longest = asked.get("max_completion_tokens") or asked.get("max_tokens") or _LONGEST
        future = asyncio.get_running_loop().create_future()
        question = Waiting(Question(turns), min(int(longest), _LONGEST), future)
        if self.too_long(question):
            error = {"message": "the question and its answer are too long", "code": 400}
            return web.json_response({"error": error}, status=400)
        await self.waiting.put(question)
        text, read, written, finished = await future
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop" if finished else "length"}
        usage = {"prompt_tokens": read, "completion_tokens": written}
        body: dict[str, Any] = {"id": "chatcmpl-0", "object": "chat.completion"}
        body |= {"created": int(time.time()), "model": self.name, "choices": [choice]}
        return web.json_response(body | {"usage": usage | {"total_tokens": read + written}})

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self.name, "object": "model"}]})

    async def work(self) -> None:
        """Answer whatever waits, as many at once as there are."""
        while True:
            batch = [await self.waiting.get()]
            await asyncio.sleep(0.02)  # those that are sent together arrive one by one
            while len(batch) < self.at_once and not self.waiting.empty():
                batch.append(self.waiting.get_nowait())
            try:
                answers = await asyncio.to_thread(self.answers, batch)
            except Exception as error:  # theirs alone: the next ones are still answered
                for waiting in batch:
                    if not waiting.answer.done():
                        waiting.answer.set_exception(error)
                continue
            for waiting, answer in zip(batch, answers, strict=True):
                if not waiting.answer.done():  # whoever asked may have gone
                    waiting.answer.set_result(answer)

    def too_long(self, asked: Waiting) -> bool:
        return not self.policy.fits(asked.question, _LONGEST)

    def answers(self, batch: list[Waiting]) -> list[tuple[str, int, int, bool]]:
        prompts = self.policy.prompts([each.question for each in batch])
        # It is the one who is asked: it never asks in its turn.
        drawing = Drawing(max(w.longest for w in batch), 0.0, float("-inf"))
        drawn = self.policy.sample(prompts, 1, drawing)
        read, written = prompts.mask.sum(dim=1).tolist(), drawn.mask.sum(dim=1).tolist()
        texts, finished = self.policy.texts(drawn), drawn.finished.tolist()
        return list(zip(texts, read, written, finished, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--port", type=int, default=8011)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    # It is asked, and is not told how to ask in its turn.
    endpoint = Endpoint(Policy.load(args.model, request=""), args.model, args.at_once)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", endpoint.chat)
    app.router.add_get("/v1/models", endpoint.models)

    async def start(_: web.Application) -> None:
        app[WORK] = asyncio.create_task(endpoint.work())

    app.on_startup.append(start)
    web.run_app(app, host="127.0.0.1", port=args.port)


WORK = web.AppKey("work", asyncio.Task[None])

if __name__ == "__main__":
    main()
