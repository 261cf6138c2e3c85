"""The options of `understudy serve`."""

from __future__ import annotations

from typing import Annotated

import typer

Local = Annotated[
    str | None,
    typer.Option(
        help="who answers first: a run, a model's folder, a GGUF file, a name of the hub, an "
        "engine's URL, or none; else the tiny model that ships",
        metavar="RUN|PATH|URL",
    ),
]
Cloud = Annotated[
    str | None,
    typer.Option(
        help="who helps: an OpenAI-compatible endpoint, up to /v1; else nobody, and the "
        "simulated cloud beside the model that ships",
        metavar="URL",
    ),
]
CloudModel = Annotated[str | None, typer.Option(help="the model's name there")]
CloudKeyEnv = Annotated[
    str | None, typer.Option(help="the environment variable that holds its key")
]
Prices = Annotated[
    str | None,
    typer.Option(
        help="what it charges in dollars per million tokens, as 0.5/2 for question and "
        "answer, or a file with your price table",
        metavar="P/C|FILE",
    ),
]
LiteLLM = Annotated[
    str | None, typer.Option(help="LiteLLM's config.yaml: its model_list", metavar="FILE")
]
NoCheck = Annotated[
    bool, typer.Option("--no-check", help="do not ask the clouds for their models at the start")
]
MaxDollars = Annotated[
    list[str] | None,
    typer.Option(help="what clouds may cost in all, such as 5/day", metavar="N/PERIOD"),
]
MaxCalls = Annotated[
    list[str] | None,
    typer.Option(help="calls to clouds in all, such as 100/hour", metavar="N/PERIOD"),
]
Share = Annotated[
    float | None, typer.Option(help="at most so much of all questions goes to a cloud, such as 0.2")
]
Dial = Annotated[
    float | None, typer.Option(help="0 never asks a cloud, 1 always; else as the run was fitted")
]
Host = Annotated[str | None, typer.Option(help="the address to listen on")]
Port = Annotated[int | None, typer.Option(help="the port to listen on; 0: any")]
Threads = Annotated[int | None, typer.Option(help="CPU threads of the local model")]
