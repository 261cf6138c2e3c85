"""scikit-learn's handwritten digits: 1,797 grey pictures of 8 x 8, inside that package."""

from __future__ import annotations

import torch

from understudy.errors import ConfigError
from understudy.federate.samples import SampleSet, numbered


def digits() -> SampleSet:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ConfigError(
            f"data=digits: these are inside scikit-learn, which cannot be used ({error}); pip "
            "install scikit-learn, or use data=generated"
        ) from error
    found = load_digits()
    pictures = torch.from_numpy(found.images).float() / 16
    classes, label = numbered([str(each) for each in found.target.tolist()])
    return SampleSet(pictures[:, None], label, classes)
