"""A cloud of your own: a program that reads the question and prints the answer.

A cloud has one method, `answer`. A call that fails returns a reply with an error, or raises. It may
also have `estimate(question)`, which caps need, and `stream(request)`; see understudy.types.Cloud.
"""

from __future__ import annotations

import asyncio
import time

from pydantic import Field

from understudy.clouds.settings import CloudSettings
from understudy.types import AnswerKey, Cost, Question, Reply, Request


class CommandCloud:
    class Settings(CloudSettings):
        command: list[str] = Field(min_length=1, description="the program and its arguments")
        dollars_per_call: float = Field(0.0, ge=0, description="price of one call")
        timeout_seconds: float = Field(30.0, gt=0, description="of one call")

    def __init__(self, settings: Settings, key: AnswerKey) -> None:
        self.settings = settings  # the answer key is for simulated clouds

    @property
    def address(self) -> str:
        return self.settings.command[0]

    def estimate(self, question: Question) -> Cost:
        return Cost(calls=1, dollars=self.settings.dollars_per_call)

    async def answer(self, request: Request) -> Reply:
        begun, pipe = time.monotonic(), asyncio.subprocess.PIPE
        program = await asyncio.create_subprocess_exec(
            *self.settings.command, stdin=pipe, stdout=pipe, stderr=pipe
        )
        question = request.question.prompt.encode() + b"\n"
        try:
            async with asyncio.timeout(self.settings.timeout_seconds):
                printed, complaint = await program.communicate(question)
        except TimeoutError:
            program.kill()
            await program.wait()
            return Reply(text=None, error="timeout", seconds=time.monotonic() - begun)
        seconds, price = time.monotonic() - begun, self.settings.dollars_per_call
        if program.returncode:
            last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            return Reply(text=None, error=f"exit {program.returncode}: {last}", seconds=seconds)
        return Reply(text=printed.decode(errors="replace"), dollars=price, seconds=seconds)
