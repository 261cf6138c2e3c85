"""The options of `understudy keys create`."""

from __future__ import annotations

from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(help="by which people know it", metavar="NAME")]
Team = Annotated[str, typer.Option(help="whose spending it counts for too")]
Scope = Annotated[
    list[str] | None,
    typer.Option(
        help="what it may do, given once for each: inference, feedback, stored, metrics, "
        "dashboard, admin; else the first three",
        metavar="SCOPE",
    ),
]
Dial = Annotated[
    float | None,
    typer.Option(
        help="0 never asks a cloud, not by name either, nor for embeddings; "
        "1 always asks; else as the policy",
    ),
]
Expires = Annotated[str | None, typer.Option(help="after how long, such as 90d or 12h; else never")]
RequestsPerMinute = Annotated[
    int | None, typer.Option(help="more are told 429, whoever would answer", min=1, metavar="N")
]
TokensPerMinute = Annotated[
    int | None, typer.Option(help="of questions and answers, local ones too", min=1, metavar="N")
]
MaxDollars = Annotated[
    list[str] | None, typer.Option(help="its own cap, such as 1/day", metavar="N/PERIOD")
]
MaxCalls = Annotated[
    list[str] | None, typer.Option(help="of the cloud, such as 100/hour", metavar="N/PERIOD")
]
MaxTokens = Annotated[
    list[str] | None, typer.Option(help="of the cloud, such as 1e6/month", metavar="N/PERIOD")
]
