"""A user's own data: every form of it arrives as the same numbers, and what is wrong is said."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from understudy.errors import ConfigError
from understudy.tasks.instance_sets import load_instances
from understudy.tasks.instances import generated_instances

X = np.arange(24, dtype=np.float64).reshape(4, 2, 3) / 7
LABEL = np.array([0, 3, 3, 1])


def npz(folder: Path, **arrays: Any) -> str:
    path = folder / "own.npz"
    np.savez(path, **arrays)
    return str(path)


def write_idx(path: Path, array: np.ndarray) -> None:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    raw = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def function(folder: Path, body: str) -> str:
    path = folder / "own.py"
    path.write_text(f"import numpy as np\nimport torch\n\ndef load(**options):\n    {body}\n")
    return f"{path}:load"


def test_generated_ones_take_their_arguments() -> None:
    found = load_instances("generated", {"classes": 3, "per_class": 5, "seed": 2})
    wanted = generated_instances(classes=3, per_class=5, seed=2)
    assert torch.equal(found.x, wanted.x)
    assert torch.equal(found.label, wanted.label)


@pytest.mark.parametrize("name", ["label", "y"])
def test_a_file_of_arrays(tmp_path: Path, name: str) -> None:
    found = load_instances(npz(tmp_path, x=X, **{name: LABEL.astype(np.float32)}), {})
    assert (found.x.dtype, found.label.dtype) == (torch.float32, torch.int64)
    assert found.label.tolist() == [0, 3, 3, 1]
    np.testing.assert_array_equal(found.x.numpy(), X.astype(np.float32))


def test_whole_numbers_stay_whole(tmp_path: Path) -> None:
    tokens = np.arange(8, dtype=np.uint8).reshape(4, 2)
    found = load_instances(npz(tmp_path, x=tokens, y=LABEL), {})
    assert found.x.dtype == torch.int64
    assert found.x.tolist() == tokens.tolist()


def test_a_folder_as_mnist_comes_joins_training_and_test_images(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 3))
    write_idx(tmp_path / "t10k-images-idx3-ubyte", images[3:])
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.array([8, 9]))
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", images[:3])
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.array([5, 6, 7]))
    found = load_instances(str(tmp_path), {})
    assert found.label.tolist() == [5, 6, 7, 8, 9]
    np.testing.assert_array_equal(found.x.numpy(), (images / 255).astype(np.float32))


@pytest.mark.parametrize(
    "returned", ["(np.ones((n, 2)), [0] * n)", "[torch.ones(n, 2), torch.zeros(n)]"]
)
def test_a_function_of_the_users_own_gets_the_options(tmp_path: Path, returned: str) -> None:
    spec = function(tmp_path, f"n = options['n']; return {returned}")
    found = load_instances(spec, {"n": 6})
    assert found.x.tolist() == [[1.0, 1.0]] * 6
    assert found.label.tolist() == [0] * 6


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return np.ones((3, 2))", "return (x, label)"),
        ("return np.ones((3, 2)), [0, 1]", "x is [3, 2] and label [2]"),
        ("return np.ones(3), [0, 1, 2]", "x is [3] and label [3]"),
        ("return np.ones((0, 2)), []", "n of at least 1"),
        ("return np.full((2, 2), np.nan), [0, 1]", "x has values that are not finite"),
        ("return np.full((2, 2), 1e300), [0, 1]", "x has values that are not finite"),
        ("return np.ones((2, 2)), [0, np.inf]", "label has values that are not finite"),
        ("return np.ones((2, 2)), [0.5, 1]", "there is 0.5"),
        ("return np.ones((2, 2)), [-1, 1]", "labels go from -1 to 1"),
        ("return np.ones((2, 2)), [0, 10**9]", "number the classes"),
        ("return np.ones((2, 2)), ['a', 'b']", "label is no array"),
        ("return np.ones((2, 2)) * 1j, [0, 1]", "give real numbers"),
        ("raise KeyError('digits\\nare gone')", "KeyError"),
    ],
)
def test_what_a_function_must_not_return_is_refused_in_a_line(
    tmp_path: Path, body: str, said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_instances(function(tmp_path, body), {})
    assert said in str(refused.value)
    assert str(refused.value).startswith("data=")
    assert "\n" not in str(refused.value)


def refusal(spec: str, **options: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        load_instances(spec, options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_what_is_not_there_or_not_whole_is_refused_in_a_line(tmp_path: Path) -> None:
    assert "nothing there" in refusal(str(tmp_path / "missing"))
    assert "write module:function" not in refusal("generated", clases=3)
    assert "clases" in refusal("generated", clases=3)
    assert "has no load" in refusal("understudy.errors:load")
    assert "cannot be read" in refusal(str(tmp_path / "missing.npz"))
    assert "it needs x and label" in refusal(npz(tmp_path, x=X, labels=LABEL))
    assert "takes no data_options" in refusal(npz(tmp_path, x=X, y=LABEL), n=1)
    assert "cannot be read" in refusal(npz(tmp_path, x=np.array([{}]), y=LABEL))


def test_a_folder_that_is_not_whole_is_refused_in_a_line(tmp_path: Path) -> None:
    assert "images of nothing" in refusal(str(tmp_path))
    images, labels = tmp_path / "train-images-idx3-ubyte.gz", tmp_path / "train-labels-idx1-ubyte"
    write_idx(images, np.zeros((3, 2, 2)))
    assert "labels of nothing" in refusal(str(tmp_path))
    write_idx(labels, np.zeros(2))
    assert "one label for each image" in refusal(str(tmp_path))
    labels.write_bytes(labels.read_bytes()[:-1])
    assert "speaks of [2] bytes but has 1" in refusal(str(tmp_path))
    labels.write_bytes(b"<html>")
    assert "no idx file" in refusal(str(tmp_path))
    images.write_bytes(images.read_bytes()[:-9])
    assert "cannot be read" in refusal(str(tmp_path))
