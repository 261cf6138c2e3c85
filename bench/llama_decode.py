"""llama.cpp's side of `sampling.py`, in a process of its own: its server, one slot per row.

    python bench/llama_decode.py FILE.gguf ROWS POSITIONS

POSITIONS: of each row's cache. One line of JSON on standard input, {"prompts": [[token, ...],
...], "length": n}, has every prompt continued by n tokens at temperature 1 from the whole
vocabulary; one line on standard output tells what it took. Needs `pip install xllamacpp`.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import xllamacpp


def opened(file: str, rows: int, positions: int) -> Any:
    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_parallel = file, rows
    settings.n_ctx, settings.kv_unified = rows * positions, True
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.n_gpu_layers, settings.warmup = 0, False
    return xllamacpp.Server(settings)


def continued(server: Any, length: int, prompt: list[int]) -> int:
    asked = {
        "prompt": prompt,
        "max_tokens": length,
        "ignore_eos": True,
        "cache_prompt": False,
        "samplers": ["temperature"],
        "temperature": 1.0,
    }
    return int(server.handle_completions(asked)["usage"]["completion_tokens"])


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the library writes what it does
    server = opened(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps({"ready": True}), file=out, flush=True)
    for line in sys.stdin:
        given = json.loads(line)
        prompts, length = given["prompts"], given["length"]
        wall, started = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(len(prompts)) as pool:
            tokens = sum(pool.map(partial(continued, server, length), prompts))
        took = {"seconds": time.process_time() - started, "wall": time.perf_counter() - wall}
        print(json.dumps(took | {"tokens": tokens}), file=out, flush=True)


if __name__ == "__main__":
    main()
