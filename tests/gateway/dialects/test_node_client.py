"""OpenAI's own client for Node against the gateway."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.gateway.echo import MODEL
from tests.gateway.serving import serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="no Node"),
]

SCRIPT = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "one two three" }];
const found = {};

const whole = await client.chat.completions.create({ model: "auto", messages });
found.whole = whole.choices[0].message.content;
found.model = whole.model;

const { response } = await client.chat.completions
  .create({ model: "auto", messages }).withResponse();
found.by = response.headers.get("x-understudy-answered-by");

found.streamed = "";
const options = { stream: true, stream_options: { include_usage: true } };
const stream = await client.chat.completions.create({ model: "auto", messages, ...options });
for await (const chunk of stream) {
  found.streamed += chunk.choices[0]?.delta?.content ?? "";
  if (chunk.usage) found.tokens = chunk.usage.total_tokens;
}

const tool = { type: "function", function: { name: "note", parameters: { type: "object" } } };
const called = await client.chat.completions
  .stream({ model: "auto", messages, tools: [tool] }).finalChatCompletion();
found.tool = called.choices[0].message.tool_calls[0].function.name;

const answered = client.responses.stream({ model: "auto", input: "one two" });
found.response = (await answered.finalResponse()).output_text;
found.models = (await client.models.list()).data.map((model) => model.id);

try {
  await client.chat.completions.create({ model: "auto", messages: [] });
} catch (error) {
  found.refused = [error.status, error.param, error instanceof OpenAI.BadRequestError];
}
try {
  const asked = [{ role: "user", content: "break it" }];
  for await (const _ of await client.chat.completions.create(
    { model: "auto", messages: asked, stream: true })) {}
} catch (error) {
  found.broken = error.code;
}
console.log(JSON.stringify(found));
"""


def test_the_client_for_node_works_unchanged(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"type": "module", "private": true}')
    (tmp_path / "ask.js").write_text(SCRIPT)
    installed = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "openai"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if installed.returncode:
        pytest.skip(f"npm cannot install openai: {installed.stderr[-200:]}")
    with serving() as served:
        done = subprocess.run(
            ["node", "ask.js", f"{served.url}/v1"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "whole": "one two three",
        "model": MODEL,
        "by": "local",
        "streamed": "one two three",
        "tokens": 17,
        "tool": "note",
        "response": "one two",
        "models": ["auto", MODEL],
        "refused": [400, "messages", True],
        "broken": "broken_stream",
    }
