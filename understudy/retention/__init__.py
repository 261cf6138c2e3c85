"""What holds old skill while new work is learnt: a kind per file, found by name.

retention: rehearsal
retention: {kind: rehearsal, size: 500}
retention: my_file.py:Kind
"""

from __future__ import annotations

from understudy.registry import Registry

RETENTIONS = Registry(
    "retention",
    {
        "none": ("understudy.retention.retention:Retention", "nothing holds it"),
        "kl": (
            "understudy.retention.kl:Kl",
            "the KL to the model before training, weighed by the setting beta",
        ),
        "rehearsal": (
            "understudy.retention.rehearsal:Rehearsal",
            "verified answers of earlier phases are learnt again at every step",
        ),
    },
)
