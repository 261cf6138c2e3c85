"""The options of `understudy init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str | None,
    typer.Option(help="which model learns: a folder, a GGUF file, a name of the hub, or tiny"),
]
Data = Annotated[
    Path | None, typer.Option(help="questions with their answers: csv, tsv, jsonl, parquet")
]
Cloud = Annotated[
    str | None,
    typer.Option(
        help="who helps: an OpenAI-compatible endpoint, up to /v1; else a simulated one",
        metavar="URL",
    ),
]
CloudModel = Annotated[
    str | None, typer.Option(help="the model's name there; else the only one that is there")
]
Prompt = Annotated[
    str | None, typer.Option(help="the column that asks; else it is found", metavar="COLUMN")
]
Solution = Annotated[
    str | None, typer.Option(help="the column that answers; else it is found", metavar="COLUMN")
]
Template = Annotated[
    str | None,
    typer.Option(
        help="without looking at anything: csv, endpoint, sharing, federation or serving",
        metavar="NAME",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(help="the file to write, or its folder; else here", metavar="FILE|FOLDER"),
]
Force = Annotated[bool, typer.Option("--force", help="write over what is there")]
