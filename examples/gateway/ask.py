"""OpenAI's own client and the gateway: who answered, a stream, and how good the answer was.

    understudy serve
    python examples/gateway/ask.py "max has 41 cards, sells 13, finds 46, eats 4. how many?"

The gateway's address and key are OPENAI_BASE_URL and OPENAI_API_KEY, as for every such client.
"""

import os
import sys

from openai import OpenAI

question = sys.argv[1] if len(sys.argv) > 1 else "tom has 12 pens, buys 5. how many?"
url = os.environ.get("OPENAI_BASE_URL", "http://localhost:8000/v1")
client = OpenAI(base_url=url, api_key=os.environ.get("OPENAI_API_KEY", "none"))
messages = [{"role": "user", "content": question}]

# The headers say who answered and why.
raw = client.chat.completions.with_raw_response.create(model="auto", messages=messages)
answer = raw.parse()
print(f"{answer.model}: {answer.choices[0].message.content}")
print(f"  {raw.headers['x-understudy-answered-by']}, since {raw.headers['x-understudy-why']}")

# A stream; `local` and `cloud` name who is to answer.
for chunk in client.chat.completions.create(model="local", messages=messages, stream=True):
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
print("  streamed by the local model")

# What the answer was worth goes beside its event.
root = url.removesuffix("/v1")
feedback = {"inference_id": answer.id, "metric_name": "right", "value": True}
print(client.post(f"{root}/feedback", body=feedback, cast_to=object))
