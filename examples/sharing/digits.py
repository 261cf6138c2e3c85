"""scikit-learn's handwritten digits, for agents that share: 1,797 pictures of 8 x 8.

Its data set is inside that package: pip install scikit-learn.
"""

from __future__ import annotations

from torch import Tensor, from_numpy

from understudy.errors import ConfigError


def load() -> tuple[Tensor, Tensor]:
    """(pictures with values in [0, 1], labels)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ConfigError("data=digits.py:load: run `pip install scikit-learn` first") from error
    digits = load_digits()
    return from_numpy(digits.images) / 16, from_numpy(digits.target)
