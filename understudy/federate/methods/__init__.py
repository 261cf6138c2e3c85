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
    },
)
