"""How many tokens an answer may take, where nobody says, by the tasks that are asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from understudy.tasks.checker import Kind
from understudy.tasks.data import DataConfig, guess_form
from understudy.tasks.forms import FORMS

# A model that reasons in words needs room to come to an end.
_BY_KIND: Mapping[Kind, int] = {
    "label": 32,
    "choice": 24,
    "text": 64,
    "number": 256,
    "mathematics": 384,
    "code": 384,
}
_GENERATED = 64  # a line of working, and the answer


def usual_length(families: Collection[str], data: Mapping[str, DataConfig]) -> int:
    """Enough tokens for an answer of any of these families: generated ones, or data sets."""
    kinds = [kind_of(name, data[name]) if name in data else None for name in families]
    return max(_GENERATED if kind is None else _BY_KIND[kind] for kind in kinds)


def kind_of(name: str, config: DataConfig) -> Kind:
    """How the answers of a data set are checked, known without reading it."""
    form = config.form or guess_form(name, config)
    if form != "columns":
        return FORMS[form].kind
    assert config.checker is not None  # DataConfig refuses it
    return config.checker
