"""NaN means "not measured". These functions are how every metric leaves such values out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def measured(values: npt.ArrayLike) -> FloatArray:
    """The values that are not NaN, flattened, in their order."""
    array = np.asarray(values, dtype=np.float64).ravel()
    return array[~np.isnan(array)]


def measured_rows(*columns: npt.ArrayLike) -> tuple[FloatArray, ...]:
    """Columns of one length n, without the positions at which any of them is NaN."""
    table = [np.asarray(column, dtype=np.float64) for column in columns]
    if any(column.shape != (table[0].size,) for column in table):
        raise ValueError(
            f"columns must be one-dimensional and of one length, not {[c.shape for c in table]}"
        )
    keep = ~np.isnan(np.stack(table)).any(axis=0)
    return tuple(column[keep] for column in table)


def measured_mean(values: npt.ArrayLike) -> float:
    """Mean of the measured values; NaN, without a warning, where there are none."""
    kept = measured(values)
    return float(kept.mean()) if kept.size else float("nan")
