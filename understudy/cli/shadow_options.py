"""The options of `understudy shadow`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Logs = Annotated[
    list[str] | None,
    typer.Argument(
        help="logs of questions and a cloud's answers: JSON lines of OpenAI, LiteLLM or this "
        "gateway, also .gz; a folder of them; a gateway's store",
        metavar="LOGS",
    ),
]
Local = Annotated[
    str | None,
    typer.Option(
        help="who would have answered: a run, a model's folder, a GGUF file, a name of the hub, "
        "or an engine's URL; else the tiny model that ships",
        metavar="RUN|PATH|URL",
    ),
]
Listen = Annotated[
    str | None,
    typer.Option(
        help="pass live traffic on to --cloud, byte for byte, and report on copies of it",
        metavar="[HOST:]PORT",
    ),
]
Cloud = Annotated[
    str | None, typer.Option(help="where it is passed on to, up to /v1", metavar="URL")
]
LocalModel = Annotated[str | None, typer.Option(help="its name at a URL")]
CloudPrices = Annotated[
    str | None,
    typer.Option(
        help="what the cloud charges in dollars per million tokens: 0.5/2 for question and "
        "answer, or a file with your price table; else as the log says",
        metavar="P/C|FILE",
    ),
]
Agree = Annotated[
    str | None,
    typer.Option(
        help="what of an answer must agree with the cloud's: exact, text, label, number, choice, "
        "mathematics, marked or json; else as the answers are"
    ),
]
Checker = Annotated[
    str | None, typer.Option(help="what is right: file.py:function, or a generated family as sums")
]
Judge = Annotated[str | None, typer.Option(help="a model that judges: its endpoint", metavar="URL")]
JudgeModel = Annotated[str | None, typer.Option(help="its name there")]
JudgeKeyEnv = Annotated[
    str | None, typer.Option(help="the environment variable that holds its key")
]
Labelled = Annotated[
    str | None,
    typer.Option(help="answers that a person judged, to measure the judge by", metavar="FILE"),
]
MaxWrong = Annotated[float | None, typer.Option(help="share of wrong answers to bear, else 0.05")]
Dial = Annotated[float | None, typer.Option(help="share of the questions to ask, in its place")]
By = Annotated[
    str | None, typer.Option(help="kinds: metadata.NAME, model, route, system, words or none")
]
Minutes = Annotated[float | None, typer.Option(help="for the local model's answers, else 10")]
Questions = Annotated[int | None, typer.Option(help="answered locally at most")]
Sheet = Annotated[
    Path | None,
    typer.Option(help="write answers for a person to judge here, and stop", metavar="FILE"),
]
Out = Annotated[
    Path,
    typer.Option(help="a folder for the page, the figures and the local answers", metavar="FOLDER"),
]
