"""Foundations: whatever the model, adapters act as ordinary LoRA of each sample, and nothing else
changes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from tests.federate.checkpoints import MAKERS, PICTURES, TEXTS, checkpoint
from understudy.errors import ConfigError
from understudy.federate.foundations.blocks import find_blocks
from understudy.federate.foundations.cached import cached_inputs, chosen
from understudy.federate.foundations.foundation import Adapter, Foundation
from understudy.federate.foundations.loading import load_foundation
from understudy.federate.foundations.settings import FoundationSettings
from understudy.federate.foundations.transformers_foundation import TransformersFoundation

SENTENCES = ["where is my card", "no", "the exchange rate of my top up is wrong today", "help me"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: checkpoint(name, tmp_path_factory.mktemp("made")) for name in MAKERS}


def loaded(folder: Path, **settings: Any) -> TransformersFoundation:
    found = load_foundation(FoundationSettings(name=str(folder), **settings))
    assert isinstance(found, TransformersFoundation)
    return found


def raw(foundation: Foundation, count: int = 4) -> Any:
    if foundation.kind == "text":
        return SENTENCES[:count]
    return torch.rand(count, 3, 10, 7, generator=torch.Generator().manual_seed(1))


def adapters(
    foundation: Foundation, blocks: tuple[int, ...], count: int = 4, rank: int = 2
) -> dict[int, Adapter]:
    random = torch.Generator().manual_seed(5)
    found = {}
    for block in blocks:
        target = foundation.target(block)
        a = torch.randn(count, rank, target.inputs, generator=random)
        b = torch.randn(count, sum(target.outputs), rank, generator=random)
        found[block] = Adapter(a.requires_grad_(), b.requires_grad_(), 0.3)
    return found


def with_lora(
    model: nn.Module, foundation: Foundation, given: Mapping[int, Adapter], row: int
) -> Any:
    """A copy of the model into whose weights one sample's adapters are folded."""
    changed = copy.deepcopy(model)
    for block, adapter in given.items():
        target = foundation.target(block)
        whole = adapter.scale * adapter.b[row] @ adapter.a[row]
        for name, part in zip(target.layers, whole.split(target.outputs), strict=True):
            weight = changed.get_submodule(name).get_parameter("weight")
            weight.data += part.detach() if weight.shape == part.shape else part.detach().T
    return changed


@pytest.mark.parametrize("name", MAKERS)
def test_a_samples_adapters_are_its_own_lora(folders: dict[str, Path], name: str) -> None:
    """The slow reference: a copy of the model for every sample, its weights changed."""
    foundation = loaded(folders[name])
    plain = transformers.AutoModel.from_pretrained(folders[name]).eval()
    given, inputs = adapters(foundation, (0, 2)), foundation.prepare(raw(foundation))
    found = foundation.features(inputs, given)
    assert found.shape == (4, foundation.width)
    for row in range(4):
        alone = chosen(inputs, slice(row, row + 1))
        changed = with_lora(plain, foundation, given, row)
        options = {"interpolate_pos_encoding": False} if name.startswith("vit") else {}
        states = changed(**alone, **options).last_hidden_state
        wanted = foundation.pooled(states, alone)
        torch.testing.assert_close(found[row : row + 1], wanted, atol=2e-4, rtol=2e-4)
    assert not torch.allclose(found, foundation.features(inputs), atol=1e-2)


@pytest.mark.parametrize("name", MAKERS)
def test_training_adapters_leaves_the_foundation_as_it_was(
    folders: dict[str, Path], name: str
) -> None:
    foundation = loaded(folders[name])
    inputs = foundation.prepare(raw(foundation))
    before = {key: value.clone() for key, value in foundation.module.state_dict().items()}
    features = foundation.features(inputs)
    assert not features.requires_grad
    given = adapters(foundation, (1,))
    optimiser = torch.optim.Adam([given[1].a, given[1].b], lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        foundation.features(inputs, given).square().mean().backward()
        assert given[1].a.grad is not None
        assert float(given[1].a.grad.abs().sum()) > 0
        optimiser.step()
    assert not foundation.module.training
    assert all(not each.requires_grad for each in foundation.module.parameters())
    assert all(each.grad is None for each in foundation.module.parameters())
    after = foundation.module.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(features, foundation.features(inputs))


@pytest.mark.parametrize("name", MAKERS)
def test_adapters_that_are_zero_change_no_bit(folders: dict[str, Path], name: str) -> None:
    foundation = loaded(folders[name])
    inputs = foundation.prepare(raw(foundation))
    given = {
        block: Adapter(adapter.a, torch.zeros_like(adapter.b))
        for block, adapter in adapters(foundation, (0, 1, 2)).items()
    }
    assert torch.equal(foundation.features(inputs), foundation.features(inputs, given))


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("before", [0, 1, 2])
def test_going_on_from_kept_activations_is_the_whole_pass(
    folders: dict[str, Path], name: str, before: int
) -> None:
    foundation = loaded(folders[name])
    inputs = foundation.prepare(raw(foundation))
    kept = foundation.activations(inputs, before)
    assert all(len(each) == 4 and not each.requires_grad for each in kept.values())
    given = adapters(foundation, (2,))
    assert torch.equal(foundation.features(kept, given), foundation.features(inputs, given))
    further = foundation.activations(kept, 2)  # also from one block to a later one
    assert torch.equal(foundation.features(further, given), foundation.features(inputs, given))
    some = torch.tensor([2, 0])
    few = {2: Adapter(given[2].a[some], given[2].b[some], given[2].scale)}
    torch.testing.assert_close(
        foundation.features(chosen(kept, some), few),
        foundation.features(inputs, given)[some],
        atol=1e-5,
        rtol=1e-4,
    )


@pytest.mark.parametrize("name", MAKERS)
def test_a_whole_set_is_prepared_in_parts(folders: dict[str, Path], name: str) -> None:
    foundation = loaded(folders[name])
    many = raw(foundation)[:3] * 100 if foundation.kind == "text" else torch.rand(300, 1, 9, 9)
    for before in (0, 2):
        kept = cached_inputs(foundation, many, before)
        assert {len(each) for each in kept.values()} == {300}
        none = cached_inputs(foundation, many[:0], before)
        assert all(
            each.shape[1:] == kept[key].shape[1:] and not len(each) for key, each in none.items()
        )
        torch.testing.assert_close(
            foundation.features(chosen(kept, slice(250, 260))),
            foundation.features(foundation.prepare(many[250:260])),
            atol=1e-5,
            rtol=1e-4,
        )


def test_targets_name_the_layers_and_the_rows_of_b(folders: dict[str, Path]) -> None:
    llama = loaded(folders["llama with grouped heads"]).target(1)
    assert llama.layers == tuple(f"layers.1.self_attn.{each}_proj" for each in "qkv")
    assert (llama.inputs, llama.outputs) == (16, (32, 16, 16))
    gpt2 = loaded(folders["gpt2"]).target(2)
    assert (gpt2.layers, gpt2.inputs, gpt2.outputs) == (("h.2.attn.c_attn",), 16, (48,))
    bert = loaded(folders["bert"]).target(0)
    assert [name.rpartition(".")[2] for name in bert.layers] == ["query", "key", "value"]


class OlderBlock(nn.Module):
    """As ViT and DINOv2 have it in older releases of transformers."""

    def __init__(self) -> None:
        super().__init__()
        inner = nn.ModuleDict({name: nn.Linear(4, 4) for name in ("query", "key", "value")})
        self.attention = nn.ModuleDict({"attention": inner, "output": nn.Linear(4, 4)})


def test_layers_under_attention_attention_are_found() -> None:
    model = nn.ModuleDict({"layer": nn.ModuleList([OlderBlock(), OlderBlock()])})
    _, targets = find_blocks("older", model)
    assert targets[1].layers[0] == "layer.1.attention.attention.query"


@pytest.mark.parametrize(
    "model",
    [
        lambda: (
            transformers.T5Model(
                transformers.T5Config(
                    vocab_size=8, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2
                )
            ).decoder
        ),
        lambda: transformers.SwinModel(
            transformers.SwinConfig(image_size=16, embed_dim=8, depths=[1, 1], num_heads=[2, 2])
        ),
        lambda: nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(2, 2)])}),
    ],
)
def test_a_model_without_one_stack_of_blocks_is_refused(model: Any) -> None:
    with pytest.raises(ConfigError, match="stacks of blocks"):
        find_blocks("odd", model())


@pytest.mark.parametrize("name", TEXTS)
def test_padding_changes_nothing(folders: dict[str, Path], name: str) -> None:
    foundation = loaded(folders[name])
    together = foundation.features(foundation.prepare(SENTENCES))
    for row, text in enumerate(SENTENCES):
        alone = foundation.features(foundation.prepare([text]))
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", TEXTS)
def test_long_and_empty_texts(folders: dict[str, Path], name: str) -> None:
    foundation = loaded(folders[name], longest=9)
    inputs = foundation.prepare(["", "word " * 200, ""])
    assert inputs["input_ids"].shape[1] == 9
    assert bool(foundation.features(inputs).isfinite().all())
    assert loaded(folders[name], longest=500).prepare(["a b " * 300])["input_ids"].shape[1] == 24


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 33, 20), (1, 5, 31)])
def test_pictures_of_any_size_and_channels(
    folders: dict[str, Path], name: str, shape: tuple[int, ...]
) -> None:
    foundation = loaded(folders[name])
    pictures = torch.rand(2, *shape)
    inputs = foundation.prepare(pictures)
    found = foundation.features(inputs)
    assert found.shape == (2, 16)
    as_bytes = (pictures * 255).round().to(torch.uint8)
    torch.testing.assert_close(
        inputs["pixel_values"], foundation.prepare(as_bytes)["pixel_values"], atol=0.02, rtol=0
    )


def test_the_checkpoints_own_normalisation_is_used(folders: dict[str, Path]) -> None:
    grey = torch.full((1, 3, 12, 12), 0.6)
    pixels = loaded(folders["vit"]).prepare(grey)["pixel_values"]
    torch.testing.assert_close(pixels, torch.full_like(pixels, (0.6 - 0.4) / 0.2))


@pytest.mark.parametrize("name", PICTURES)
def test_positions_are_stretched_to_another_size(folders: dict[str, Path], name: str) -> None:
    foundation = loaded(folders[name], size=24)
    inputs = foundation.prepare(torch.rand(2, 3, 24, 24))
    assert inputs["pixel_values"].shape[2:] == (24, 24)
    kept = foundation.activations(inputs, 1)
    torch.testing.assert_close(foundation.features(kept), foundation.features(inputs))


def test_pooling_is_as_the_model_was_made_or_as_asked(folders: dict[str, Path]) -> None:
    assert [loaded(folders[name]).pooling for name in MAKERS] == [
        *("class",) * 3,
        "mean",
        *("last",) * 2,
    ]
    vit = loaded(folders["vit"], pooling="patches")
    inputs = vit.prepare(raw(vit))
    states = vit.states(inputs)
    assert len(states) == 4
    torch.testing.assert_close(vit.features(inputs), states[-1][:, 1:].mean(dim=1))


def test_fewer_blocks_are_the_first(folders: dict[str, Path]) -> None:
    whole, cut = loaded(folders["dinov2"]), loaded(folders["dinov2"], depth=2)
    inputs = whole.prepare(raw(whole))
    assert cut.blocks == 2
    wanted = whole.module.layernorm(whole.states(inputs)[2])[:, 0]  # type: ignore[operator]
    torch.testing.assert_close(cut.features(inputs), wanted)


def test_random_weights_are_drawn_by_their_seed(folders: dict[str, Path]) -> None:
    given = torch.rand(2, 3, 12, 12)
    found: list[Tensor] = []
    for seed in (0, 0, 1):
        foundation = loaded(folders["vit"], random=True, seed=seed)
        found.append(foundation.features(foundation.prepare(given)))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def refusal(folder: Path | str, **settings: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        load_foundation(FoundationSettings(name=str(folder), **settings))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_what_cannot_be_is_refused_in_a_line(folders: dict[str, Path], tmp_path: Path) -> None:
    assert "use 12 or 16" in refusal(folders["vit"], size=13)
    assert "use class or patches" in refusal(folders["vit"], pooling="last")
    assert "use mean or last or class" in refusal(folders["bert"], pooling="patches")
    assert "reads text" in refusal(folders["gpt2"], size=32)
    assert "depth=7, but it has 3 blocks" in refusal(folders["bert"], depth=7)
    foundation = loaded(folders["vit"])
    with pytest.raises(ConfigError, match="blocks 0 to 2"):
        foundation.target(3)
    with pytest.raises(ConfigError, match="reads pictures"):
        foundation.prepare(["a text"])
    with pytest.raises(ConfigError, match="reads texts"):
        loaded(folders["bert"]).prepare(torch.rand(1, 3, 8, 8))
    own = tmp_path / "own.py"
    own.write_text("def make(**options):\n    return object()\n")
    assert "without kind, width" in refusal(f"{own}:make")
    assert refusal(tmp_path / "missing").startswith(f"foundation={tmp_path / 'missing'}: no check")


def test_a_checkpoint_that_says_nothing_of_normalisation_is_warned_of(tmp_path: Path) -> None:
    folder = checkpoint("vit", tmp_path)
    (folder / "preprocessor_config.json").unlink()
    with pytest.warns(UserWarning, match="mean 0.5"):
        loaded(folder)


def test_the_language_model_that_ships_is_a_foundation() -> None:
    foundation = load_foundation(FoundationSettings(name="tiny"))
    assert (foundation.kind, foundation.blocks, foundation.width) == ("text", 3, 96)
    assert foundation.features(foundation.prepare(["2+3=?"])).shape == (1, 96)


def test_loading_a_model_with_a_part_that_is_not_used_says_nothing(
    folders: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """BERT's checkpoint has a pooler: transformers would print a table of it, and bars."""
    loaded(folders["bert"])
    assert capfd.readouterr() == ("", "")
