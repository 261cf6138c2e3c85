"""GGUF files: unpacked once, then a model like any other; refused in one line where they cannot."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from tests.models.gguf_files import SIZES, all_ids, write_both
from tests.models.small import TEXTS, questions
from understudy.errors import CheckpointError
from understudy.models import hub
from understudy.models.built_in import BuiltInModel
from understudy.models.gguf import cache, names_gguf
from understudy.models.lora import Lora
from understudy.models.policy import Policy
from understudy.models.precision import parameters_of
from understudy.models.sampling import Drawing


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_both(tmp_path / "folder", tmp_path / "model.gguf")
    return tmp_path / "model.gguf"


def refused(model: Path | str, **options: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        Policy.load(str(model), **options)
    assert "\n" not in str(caught.value)
    left = [path.name for path in cache().glob("*") if not path.name.endswith(".lock")]
    assert left == []  # nothing half made
    return str(caught.value)


def test_a_file_is_the_model_of_its_folder(file: Path, tmp_path: Path) -> None:
    ours, theirs = Policy.load(str(file)), Policy.load(str(tmp_path / "folder"))
    assert isinstance(ours.model, BuiltInModel)
    with torch.no_grad():
        assert torch.equal(ours.network(all_ids()), theirs.network(all_ids()))
    asked = questions(*TEXTS, "a <|im_end|> b", instruction="Be brief.")
    ids, mask = ours.tokens.encode_questions(asked)
    expected, theirs_mask = theirs.tokens.encode_questions(asked)
    assert torch.equal(mask, theirs_mask)
    assert torch.equal(ids[mask], expected[mask])
    assert ours.tokens.request == theirs.tokens.request
    assert ours.stops.end == theirs.stops.end == 2  # the turn's, of the template
    assert set(ours.tokens.ends) == set(theirs.tokens.ends) == {0, 2}
    drawing = Drawing(6, temperature=0.0)
    answers = [
        policy.texts(policy.sample(policy.prompts(asked), 1, drawing)) for policy in (ours, theirs)
    ]
    assert answers[0] == answers[1]


def test_it_is_unpacked_once_wherever_the_file_lies(file: Path, tmp_path: Path) -> None:
    folder = hub.resolve(str(file))
    (folder / "kept").touch()
    bare = tmp_path / "sha256-0123"  # as Ollama names them
    shutil.copyfile(file, bare)
    assert hub.resolve(str(bare)) == folder
    assert (folder / "kept").is_file()
    assert folder.parent == tmp_path / "cache" / "understudy" / "gguf"


def test_an_adapter_outlives_what_was_unpacked(file: Path, tmp_path: Path) -> None:
    policy = Policy.load(str(file), lora=Lora(rank=2))
    assert Path(policy.base) == hub.resolve(str(file))  # which plain peft finds too
    with torch.no_grad():
        for weight in policy.trainable():
            weight.add_(0.1)
        logits = policy.network(all_ids())
    policy.save(tmp_path / "saved")
    shutil.rmtree(policy.base)
    with pytest.raises(CheckpointError, match="no checkpoint there"):
        Policy.load(str(tmp_path / "saved"))
    again = Policy.load(str(tmp_path / "saved"), source=str(file))
    with torch.no_grad():
        assert torch.equal(again.network(all_ids()), logits)
    write_both(tmp_path / "other-folder", tmp_path / "other.gguf", more={"general.file_type": 0})
    shutil.rmtree(policy.base)
    with pytest.raises(CheckpointError, match="no checkpoint there"):  # another base is no base
        Policy.load(str(tmp_path / "saved"), source=str(tmp_path / "other.gguf"))


@pytest.mark.parametrize(
    ("kind", "dtype", "far"),
    [("F16", torch.float16, 1e-3), ("Q8_0", torch.float16, 0.02), ("Q4_0", torch.bfloat16, 0.3)],
)
def test_packed_weights_are_kept_as_exactly_as_they_are(
    kind: str, dtype: torch.dtype, far: float, tmp_path: Path
) -> None:
    packed = gguf.GGMLQuantizationType[kind]
    write_both(tmp_path / "folder", tmp_path / "model.gguf", kind=packed)
    from safetensors.torch import load_file

    found, whole = (
        load_file(folder / "model.safetensors")
        for folder in (hub.resolve(str(tmp_path / "model.gguf")), tmp_path / "folder")
    )
    assert found.keys() == whole.keys()
    for name, weight in whole.items():
        assert found[name].dtype == dtype
        assert float((found[name].float() - weight).abs().max()) <= far * float(weight.abs().max())


def test_what_cannot_be_trained_is_refused_in_one_line(tmp_path: Path) -> None:
    file, folder = tmp_path / "model.gguf", tmp_path / "folder"
    write_both(folder, file, architecture="of-no-kind")
    assert "of-no-kind" in refused(file)
    write_both(folder, file, leave_out="blk.1.ffn_up.weight")
    assert "no weights for model.layers.1.mlp.up_proj.weight" in refused(file)
    write_both(folder, file, more={"split.count": 3})
    assert "one of 3 files" in refused(file)
    write_both(folder, file)
    whole = file.read_bytes()
    for length in (5, 1000, len(whole) // 2, len(whole) - 1000):
        file.write_bytes(whole[:length])
        assert "truncated" in refused(file)
    file.write_bytes(b"pickle" + whole)
    assert "is no GGUF file" in refused(file)
    assert "No such file" in refused(tmp_path / "none.gguf")


def test_a_quantisation_that_nobody_knows_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    write_both(tmp_path / "folder", file)
    whole, name = file.read_bytes(), b"token_embd.weight"
    at = whole.index(name) + len(name) + 4 + 2 * 8  # behind the number of sizes, and two sizes
    assert whole[at : at + 4] == bytes(4)  # F32
    file.write_bytes(whole[:at] + (250).to_bytes(4, "little") + whole[at + 4 :])
    assert "quantisation is unknown" in refused(file)


def test_scaled_positions_are_read_or_refused(tmp_path: Path) -> None:
    """As Llama 3.1 scales them, with 4 frequencies, of which one lies between short and long."""
    file, folder = tmp_path / "model.gguf", tmp_path / "folder"
    llama3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0}
    llama3 |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    llama3 |= {"original_max_position_embeddings": 8192}
    theirs = ROPE_INIT_FUNCTIONS["llama3"](LlamaConfig(**SIZES, rope_parameters=llama3), "cpu")[0]
    plain = 500000.0 ** -(torch.arange(4) / 4)
    factors = (plain / theirs).tolist()
    assert factors[:2] == pytest.approx([1, 1])
    assert 1.1 < factors[2] < 7.9
    write_both(folder, file, rotary=llama3, factors=factors)
    ids = torch.randint(3, 320, (1, 200), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours, expected = (Policy.load(str(each)).network(ids).logits for each in (file, folder))
    assert torch.equal(ours, expected)
    shutil.rmtree(cache())
    write_both(folder, file, rotary=llama3, factors=[1.0, 1.0, 5.0, 8.0])
    assert "scaled otherwise" in refused(file)
    write_both(folder, file, more={"llama.rope.scaling.type": "yarn"})
    assert "scaled positions (yarn)" in refused(file)


def test_a_missing_package_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert "needs gguf; pip install 'understudy[models]'" in refused(file)


def test_what_a_plan_checks_is_not_unpacked(file: Path) -> None:
    hub.check(str(file))
    found = parameters_of(str(file))
    assert not cache().exists()
    hub.resolve(str(file))
    assert found == parameters_of(str(file)) == parameters_of(str(file.with_name("folder")))
    with pytest.raises(CheckpointError, match="No such file"):
        hub.check(str(file.with_name("none.gguf")))


def test_a_folder_with_nothing_but_a_file_says_so(file: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.gguf"):
        hub.resolve(str(file.parent))


def test_files_of_the_hub_are_told_from_folders(tmp_path: Path) -> None:
    for name in (
        "org/name:file.gguf",
        "org/name@main:a/file.GGUF",
        "./x.gguf",
        str(tmp_path / "x.gguf"),
    ):
        assert names_gguf(name)
    for name in ("tiny", "org/name", "org/name@v1.0", str(tmp_path)):
        assert not names_gguf(name)
