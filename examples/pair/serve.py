"""Serve a GGUF file as an OpenAI-compatible endpoint, where `llama-server` is not installed.

    pip install xllamacpp
    python serve.py model.gguf --port 8080

xllamacpp is llama.cpp with its own server, as a wheel. Answers are greedy unless a request says
otherwise, and what questions begin with in common is computed once per slot.
"""

from __future__ import annotations

import argparse
import signal

import xllamacpp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", help="a GGUF file")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--slots", type=int, default=2, help="questions answered at the same time")
    parser.add_argument("--context", type=int, default=2048, help="tokens of a question and answer")
    parser.add_argument("--threads", type=int, default=0, help="0: as llama.cpp chooses")
    args = parser.parse_args()
    settings = xllamacpp.CommonParams()
    settings.model.path = args.model
    settings.hostnames = ["127.0.0.1"]
    settings.port = args.port
    settings.n_parallel = args.slots
    settings.n_ctx = args.slots * args.context
    settings.sampling.temp = 0.0
    settings.ui = False
    if args.threads:
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = args.threads
    server = xllamacpp.Server(settings)
    print(f"serving {args.model} at {server.listening_address}/v1", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
