"""A log of the simulated cloud, as LiteLLM or OpenAI would write it: python make_log.py > log.jsonl

What it holds is generated; the forms are those of real logs.
"""

from __future__ import annotations

import argparse
import json
import random
from typing import Any

from understudy.clouds.building import build_cloud
from understudy.clouds.settings import CloudSettings
from understudy.clouds.simulated import SimulatedCloud
from understudy.tasks import FAMILIES, KeyOfDrawn
from understudy.tasks.family import draw_problem
from understudy.types import Request
from understudy.waiting import Waiter

MODEL = "simulated-large"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--form", choices=("litellm", "openai"), default="litellm")
    parser.add_argument("--families", default="sums,stories,facts,calendar")
    parser.add_argument("--tags", action="store_true", help="name the kind of each question")
    given = parser.parse_args()
    drawn, key = random.Random(0), KeyOfDrawn()
    settings: CloudSettings = SimulatedCloud.Settings(latency_seconds=0.0)
    cloud = build_cloud(settings, key)
    with Waiter() as waiter:
        for number in range(given.rows):
            family = FAMILIES[drawn.choice(given.families.split(","))]
            problem = draw_problem(family, drawn.randint(1, 3), "test", drawn)
            key.remember([problem])
            reply = waiter.wait(cloud.answer(Request(problem.question)))
            messages = problem.messages
            answer = {"role": "assistant", "content": reply.text}
            usage = {
                "prompt_tokens": reply.prompt_tokens,
                "completion_tokens": reply.completion_tokens,
            }
            completion: dict[str, Any] = {
                "id": f"chatcmpl-{number}",
                "object": "chat.completion",
                "model": MODEL,
                "choices": [{"index": 0, "message": answer, "finish_reason": "stop"}],
                "usage": usage,
            }
            tag = {"task": family.name} if given.tags else {}
            if given.form == "openai":
                row = completion | {"messages": messages, "metadata": tag}
            else:
                row = {
                    "id": completion["id"],
                    "call_type": "acompletion",
                    "status": "success",
                    "response_cost": reply.dollars,
                    **usage,
                    "model": MODEL,
                    "messages": messages,
                    "response": completion,
                    "metadata": {"requester_metadata": tag},
                    "request_tags": [],
                }
            print(json.dumps(row))


if __name__ == "__main__":
    main()
