"""Who decides which question leaves for the cloud: a kind per file, found by name.

router: calibrated
router: {kind: calibrated, spare: false}
router: my_file.py:MeanEntropy
"""

from __future__ import annotations

from understudy.registry import Registry

ROUTERS = Registry(
    "router",
    {
        "own": (
            "understudy.routing.own:Own",
            "the model asks when asking is its likeliest next token, as in training",
        ),
        "capped": (
            "understudy.routing.capped:Capped",
            "as own, but requests over the allowed share are answered locally",
        ),
        "calibrated": (
            "understudy.routing.calibrated:Calibrated",
            "the model asks above a threshold fitted to the budget on validation questions",
        ),
        "random": (
            "understudy.routing.random:Random",
            "a share of questions is sent at random; the baseline of every other router",
        ),
    },
)
