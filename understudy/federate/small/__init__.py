"""The clients' small networks: a kind per file, found by name, or one of your own.

A kind is called with some raw samples (pictures (n, channels, height, width), or texts), from which
it takes its shape, and with its options. Imports nothing heavy.
"""

from __future__ import annotations

from understudy.registry import Registry

SMALL = Registry(
    "small",
    {
        "residual": (
            "understudy.federate.small.residual:Residual",
            "pictures: convolutions with residual connections, as a ResNet",
        ),
        "depthwise": (
            "understudy.federate.small.depthwise:Depthwise",
            "pictures: inverted bottlenecks with depthwise convolutions, as a MobileNet",
        ),
        "transformer": (
            "understudy.federate.small.transformer:SmallTransformer",
            "pictures: patches and attention, as a ViT",
        ),
        "words": (
            "understudy.federate.small.words:Words",
            "text: embeddings of hashed words, and a convolution or attention",
        ),
    },
)
