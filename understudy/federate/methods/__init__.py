"""What a client learns, sends and takes: a method per kind, found by name.

A method is a subclass of `understudy.federate.methods.method.Method` with `Settings`. A stranger's
is `method: my_file.py:Name`.
"""

from __future__ import annotations

from understudy.registry import Registry

METHODS = Registry(
    "method",
    {
        "fed_lscl": (
            "understudy.federate.methods.fed_lscl:FedLscl",
            "a small network generates low-rank matrices for the frozen one",
        ),
        "head": (
            "understudy.federate.methods.head:Head",
            "a linear head on frozen features, averaged (FedAvg, FedProx)",
        ),
        "lora": (
            "understudy.federate.methods.lora:Lora",
            "one low-rank change of the frozen network for all samples, averaged (FedAvg, FedProx)",
        ),
        "prompts": (
            "understudy.federate.methods.prompts:Prompts",
            "a pool of prompts, chosen for each sample by keys, averaged (as L2P)",
        ),
        "small_alone": (
            "understudy.federate.methods.small_alone:SmallAlone",
            "the small network without the frozen one, averaged (FedAvg, FedProx)",
        ),
    },
)
