"""Samples: every form of data arrives as the same numbers, and what is wrong is said in a line."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from understudy.errors import ConfigError
from understudy.federate.data import load_samples
from understudy.federate.samples import SampleSet, numbered
from understudy.federate.sources import pictures

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def draw(path: Path, colour: Any, size: tuple[int, int] = (4, 3), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def colours(found: SampleSet) -> list[list[int]]:
    assert isinstance(found.raw, Tensor)
    assert found.raw.dtype == torch.uint8
    return found.raw[:, :, 0, 0].tolist()


def refusal(spec: Any, **options: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        load_samples(str(spec), options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_folder_per_class(tmp_path: Path) -> None:
    draw(tmp_path / "cat" / "1.png", RED)
    draw(tmp_path / "cat" / "2.PNG", GREEN)
    draw(tmp_path / "ape" / "1.png", BLUE)
    (tmp_path / "ape" / "notes.txt").write_text("no picture")
    found = load_samples(str(tmp_path))
    assert found.classes == ("ape", "cat")
    assert found.label.tolist() == [0, 1, 1]
    assert colours(found) == [list(BLUE), list(RED), list(GREEN)]
    assert isinstance(found.raw, Tensor)
    assert found.raw.shape[2:] == (3, 4)
    assert found.held is None
    assert found.kind == "pictures"


@pytest.mark.parametrize("zipped", [False, True])
def test_folders_train_and_test_stay_apart(tmp_path: Path, zipped: bool) -> None:
    root = tmp_path / "data"
    for split, colour in (("train", RED), ("test", GREEN), ("val", BLUE)):
        for name in ("a", "b"):
            draw(root / "set" / split / name / "1.png", colour)
    where = root
    if zipped:
        where = tmp_path / "data.zip"
        with zipfile.ZipFile(where, "w") as archive:
            for file in sorted(root.rglob("*.png")):
                archive.write(file, file.relative_to(root))
    found = load_samples(str(where))
    assert found.held is not None
    assert found.classes == ("a", "b")
    held = dict(zip(map(tuple, colours(found)), found.held.tolist(), strict=True))
    assert held == {RED: False, GREEN: True}  # with a test folder, that for validation is left out


def test_grey_pictures_have_one_channel_and_sizes_can_be_set(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png", 10, (5, 7), "L")
    draw(tmp_path / "b" / "1.png", 200, (9, 3), "L")
    assert "data_options.size" in refusal(tmp_path)
    found = load_samples(str(tmp_path), {"size": 6})
    assert isinstance(found.raw, Tensor)
    assert found.raw.shape == (2, 1, 6, 6)
    assert colours(found) == [[10], [200]]


def test_pictures_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "a" / "1.png", RED)
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    assert "pip install pillow" in refusal(tmp_path)


def test_a_table_of_texts(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text('text,label,client\n"hi, you",10,eve\nno,9,bob\nyes,9,eve\n')
    found = load_samples(str(tmp_path / "own.csv"))
    assert found.raw == ("hi, you", "no", "yes")
    assert found.classes == ("9", "10")
    assert found.label.tolist() == [1, 0, 0]
    assert found.users == ("bob", "eve")
    assert found.user is not None
    assert found.user.tolist() == [1, 0, 1]
    assert found.of(torch.tensor([2, 0])) == ("yes", "hi, you")


def test_a_table_that_names_no_columns(tmp_path: Path) -> None:
    (tmp_path / "own.tsv").write_text("ham\tsee you\nspam\tcall now\n")
    found = load_samples(str(tmp_path / "own.tsv"), {"header": ["label", "text"]})
    assert (found.raw, found.classes) == (("see you", "call now"), ("ham", "spam"))


def test_a_folder_of_tables_under_other_names(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("said,what\na,x\nb,y\n")
    (tmp_path / "test.csv").write_text("said,what\nc,y\n")
    assert "data_options.label" in refusal(tmp_path)
    assert "has no such column" in refusal(tmp_path, label="wat")
    found = load_samples(str(tmp_path), {"label": "what", "text": "said"})
    assert found.held is not None
    assert sorted(zip(found.raw, found.held.tolist(), strict=True)) == [
        ("a", False),
        ("b", False),
        ("c", True),
    ]


def test_what_the_datasets_library_saved(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "ant"])}
    )
    rows = {"image": [Image.new("RGB", (4, 4), each) for each in (RED, GREEN)], "label": [0, 1]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "set"))
    found = load_samples(str(tmp_path / "set"))
    assert found.classes == ("ant", "dog")
    assert found.label.tolist() == [1, 0]
    assert colours(found) == [list(RED), list(GREEN)]


def test_generated_pictures_and_arrays(tmp_path: Path) -> None:
    found = load_samples("generated", {"classes": 3, "per_class": 4, "size": 6})
    assert isinstance(found.raw, Tensor)
    assert found.raw.shape == (12, 1, 6, 6)
    assert found.classes == ("0", "1", "2")
    whole = np.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    np.savez(tmp_path / "own.npz", x=whole, y=np.array([7, 4]))
    arrays = load_samples(str(tmp_path / "own.npz"))
    assert arrays.classes == ("4", "7")
    assert isinstance(arrays.raw, Tensor)
    assert arrays.raw.dtype == torch.uint8
    assert arrays.raw.tolist() == whole.tolist()


def test_the_digits_inside_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    found = load_samples("digits")
    assert isinstance(found.raw, Tensor)
    assert found.raw.shape == (1797, 1, 8, 8)
    assert found.classes == tuple("0123456789")


def function(folder: Path, body: str) -> str:
    path = folder / "own.py"
    path.write_text(f"import numpy as np\n\ndef load(**options):\n    return {body}\n")
    return f"{path}:load"


def test_ones_own_function(tmp_path: Path) -> None:
    found = load_samples(function(tmp_path, "(['a', 'b'] * options['n'], [1, 0] * 2)"), {"n": 2})
    assert found.raw == ("a", "b", "a", "b")
    assert found.label.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("(np.ones((2, 3)), [0, 1])", "pictures are (n, height, width)"),
        ("(np.ones((2, 5, 4, 4)), [0, 1])", "1 or 3 channels"),
        ("(np.full((2, 4, 4), -1.0), [0, 1])", "values from -1 to -1"),
        ("(np.full((2, 4, 4), 256), [0, 1])", "0 to 255"),
        ("(np.ones((2, 4, 4)), [1, 1])", "has one class"),
        ("(['a', 'b'], [1])", "2 texts and 1 labels"),
        ("3", "return (x, label)"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_what_a_function_must_not_return(tmp_path: Path, body: str, said: str) -> None:
    assert said in refusal(function(tmp_path, body))


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "missing")
    assert "no such file" in refusal("data/missing.csv")
    assert "clases" in refusal("generated", clases=3)
    (tmp_path / "broken.zip").write_bytes(b"no zip")
    assert "copy it again" in refusal(tmp_path / "broken.zip")
    draw(tmp_path / "pictures" / "a" / "1.png", RED)
    (tmp_path / "pictures" / "a" / "2.png").write_bytes(b"no picture")
    assert "a/2.png is no picture; remove it" in refusal(tmp_path / "pictures")


def leaf(path: Path, users: dict[str, tuple[list[Any], list[Any]]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "users": list(users),
        "num_samples": [len(y) for _, y in users.values()],
        "user_data": {user: {"x": x, "y": y} for user, (x, y) in users.items()},
    }
    path.write_text(json.dumps(content))


def test_leaf_with_tweets(tmp_path: Path) -> None:
    row = ["1", "Mon", "NO_QUERY", "ann", "so sad", "extra"]
    leaf(tmp_path / "rows.json", {"ann": ([row, row], [0, 0]), "bob": ([row], [4])})
    found = load_samples(str(tmp_path / "rows.json"))
    assert found.raw == ("so sad",) * 3
    assert found.users == ("ann", "bob")
    leaf(tmp_path / "texts.json", {"ann": (["a", "b"], [0, 1]), "bob": (["c"], [1])})
    few = load_samples(str(tmp_path / "texts.json"), {"at_least": 2})
    assert (few.raw, few.users) == (("a", "b"), ("ann",))
    assert "the most that one has is 2" in refusal(tmp_path / "texts.json", at_least=3)


def test_leaf_with_handwriting_in_folders_train_and_test(tmp_path: Path) -> None:
    picture = (np.arange(16) / 16).tolist()
    for part, users in (("train", ("f1", "f2")), ("test", ("f2",))):
        for number, user in enumerate(users):
            leaf(tmp_path / part / f"all_data_{number}.json", {user: ([picture] * 2, [3, 61])})
    found = load_samples(str(tmp_path))
    assert isinstance(found.raw, Tensor)
    assert found.raw.shape == (6, 1, 4, 4)
    torch.testing.assert_close(found.raw[0, 0].flatten(), torch.tensor(picture))
    assert found.classes == ("3", "61")
    assert found.held is not None
    assert found.user is not None
    by_user = {
        name: found.held[found.user == place].tolist() for place, name in enumerate(found.users)
    }
    assert sorted(by_user["f2"]) == [False, False, True, True]
    assert by_user["f1"] == [False, False]


def test_leaf_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    leaf(tmp_path / "a.json", {"u": ([[0.1] * 5, [0.2] * 5], [0, 1])})
    assert "no square picture" in refusal(tmp_path / "a.json")
    leaf(tmp_path / "b.json", {"u": (["a"], [0, 1])})
    assert "1 x and 2 y" in refusal(tmp_path / "b.json")


def test_names_are_numbered_in_their_own_order() -> None:
    assert numbered(["10", "9", "10"]) == (("9", "10"), pytest.approx(torch.tensor([1, 0, 1])))
    assert numbered(["b", "10", "a"])[0] == ("10", "a", "b")


def test_mac_archives_are_read_without_their_shadows(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png", RED)
    draw(tmp_path / "__MACOSX" / "a" / "1.png", RED)
    draw(tmp_path / "a" / "._1.png", RED)
    assert len(list(pictures._files(tmp_path))) == 1
