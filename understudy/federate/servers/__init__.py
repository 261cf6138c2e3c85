"""What the server makes of the clients' uploads: a kind per file, found by name.

A kind is a subclass of `understudy.federate.servers.aggregation.Aggregation` with `Settings`.
"""

from __future__ import annotations

from understudy.registry import Registry

SERVERS = Registry(
    "server",
    {
        "none": ("understudy.federate.servers.aggregation:Aggregation", "nothing comes back"),
        "average": (
            "understudy.federate.servers.average:Average",
            "one mean, median or trimmed mean for all (FedAvg)",
        ),
        "asynchronous": (
            "understudy.federate.servers.asynchronous:Asynchronous",
            "uploads are taken as they come, and count less the older they are",
        ),
        "o2d": (
            "understudy.federate.servers.o2d:OneByOne",
            "each client's generator learns from all others' (one-by-one distillation)",
        ),
    },
)
