"""Where else the numbers of a run are shown: a kind of tracker per file, found by name.

report_to: [tensorboard, wandb]
report_to: my_file.py:MyTracker
"""

from __future__ import annotations

from understudy.registry import Registry

TRACKERS = Registry(
    "report_to",
    {
        "tensorboard": (
            "understudy.trackers.tensorboard:TensorBoard",
            "event files in the run directory",
        ),
        "wandb": ("understudy.trackers.wandb:WandB", "Weights & Biases, or its files offline"),
        "trackio": ("understudy.trackers.trackio:Trackio", "trackio's database on this machine"),
        "mlflow": ("understudy.trackers.mlflow:MLflow", "the store that MLFLOW_TRACKING_URI names"),
    },
)
