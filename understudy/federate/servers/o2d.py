"""O2D: each client's generator learns from all others' what they make of their own features.

    for each client s that has sent, in turn (here: all at once, as none depends on another):
        phi <- phi_s
        repeat `steps` times
            loss = sum over teachers t != s of MSE(G_phi(F_t), G_phi_t(F_t))     matrices A and B
            phi <- Adam(phi, loss)
        send phi to s alone

F_t: the features that client t sent. Teachers are the generators as they were sent. Of many
clients `teachers` are drawn for each step.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from understudy.federate.rows import mean_rows
from understudy.federate.servers.aggregation import Aggregation, Answers, Upload
from understudy.settings import KindSection

if TYPE_CHECKING:
    from understudy.actors.jobs import Job


class OneByOne(Aggregation):
    class Settings(KindSection):
        steps: int = Field(50, ge=0, description="of Adam, for each student in a round")
        learning_rate: float = Field(
            1e-3, gt=0, description="of Adam, which begins anew each round"
        )
        batch: int = Field(16, ge=1, description="features of each teacher in a step")
        teachers: int | None = Field(
            16,
            ge=1,
            description="of more clients so many are drawn as the teachers of a step, the same "
            "for all students; null: all are, which costs clients squared",
        )
        own: float = Field(
            0.0, ge=0, description="weight of the student's own matrices on its own features"
        )

    settings: Settings
    takes = True

    def answers(self, uploads: Mapping[int, Upload]) -> Generator[Job, Any, Answers]:
        from understudy.federate.methods.fed_lscl import FEATURES, GENERATOR, HEAD
        from understudy.federate.servers.distillation import Distil

        self.figures = {}
        heads = [upload.kinds[HEAD] for upload in uploads.values() if HEAD in upload.kinds]
        rows = {HEAD: mean_rows(heads)} if heads else {}
        able = {
            client: upload
            for client, upload in uploads.items()
            if len(upload.kinds[FEATURES][FEATURES])
        }
        if len(able) < 2:
            return dict.fromkeys(uploads, rows) if rows else {}
        rounds = {upload.round for upload in able.values()}
        found = yield Distil(
            self.common,
            self.settings,
            [upload.kinds[GENERATOR] for upload in able.values()],
            [upload.kinds[FEATURES][FEATURES] for upload in able.values()],
            max(rounds),
        )
        for name in ("before", "after"):
            distances = getattr(found, name)
            self.figures[f"distance {name}"] = dict(zip(able, distances, strict=True))
        return {
            client: {GENERATOR: student, **rows}
            for client, student in zip(able, found.students, strict=True)
        }

    @classmethod
    def comes_back(cls, settings: Any) -> str:
        return (
            "The server sends each client its own generator, after it has learnt from the others' "
            "generators on the features that these sent."
        )
