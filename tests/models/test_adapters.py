"""LoRA: what is trained, what is on disk, and what peft and transformers make of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.models.small import TEXTS, network, questions, write_checkpoint
from understudy.errors import CheckpointError, ConfigError
from understudy.models.ask_head import AskHead, head_pairs
from understudy.models.built_in import BuiltInModel
from understudy.models.lora import Lora
from understudy.models.policy import Backend, Policy
from understudy.models.sampling import Drawing, shifted_logprobs

BACKENDS: list[Backend] = ["builtin", "transformers"]
LORA = Lora(rank=4, alpha=8.0)
KINDS = ["llama", "qwen2", "qwen2-tied", "gpt2", "gemma2", "phi"]
EACH = pytest.mark.parametrize("kind", KINDS)
DRAWING = Drawing(8, ask_shift=2.0)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bases")
    for kind in KINDS:
        write_checkpoint(root / kind, kind)
    return root


def loss_of(policy: Policy) -> Tensor:
    prompts = policy.prompts(questions(*TEXTS))
    drawn = policy.sample(prompts, 2, DRAWING, DRAWING.uniforms(2 * len(TEXTS), 3))
    taken, asking = policy.score(prompts, drawn, torch.arange(len(drawn.tokens)), DRAWING)
    return (taken + asking)[drawn.mask].sum()


def trained(base: Path, steps: int = 2, **settings: Any) -> Policy:
    policy = Policy.load(str(base), lora=LORA, **settings)
    optimiser = torch.optim.Adam(policy.trainable(), lr=0.05)
    for _ in range(steps):
        optimiser.zero_grad()
        loss_of(policy).backward()
        optimiser.step()
    return policy


@pytest.fixture(scope="module")
def adapted(checkpoints: Path) -> dict[str, Policy]:
    """A policy of each kind with an adapter that was trained a little."""
    return {kind: trained(checkpoints / kind) for kind in KINDS}


def logits_of(policy: Policy, ids: Tensor) -> Tensor:
    found = policy.network(ids)
    return found if isinstance(policy.model, BuiltInModel) else found.logits  # type: ignore[no-any-return]


def some_ids() -> Tensor:
    return torch.randint(3, 320, (2, 9), generator=torch.Generator().manual_seed(1))


@EACH
def test_only_the_adapter_and_the_row_of_the_request_move(kind: str, checkpoints: Path) -> None:
    policy = Policy.load(str(checkpoints / kind), lora=LORA)
    untouched = Policy.load(str(checkpoints / kind))
    torch.testing.assert_close(logits_of(policy, some_ids()), logits_of(untouched, some_ids()))
    before = {name: value.clone() for name, value in policy.network.state_dict().items()}
    trained_names = [name for name, p in policy.network.named_parameters() if p.requires_grad]
    assert all("lora_" in name or name.endswith(".row") for name in trained_names)
    assert sum(name.endswith(".row") for name in trained_names) == (kind != "phi")  # has a bias
    optimiser = torch.optim.Adam(policy.trainable(), lr=0.05)
    for _ in range(2):  # A has no gradient while B is zero
        optimiser.zero_grad()
        loss_of(policy).backward()
        optimiser.step()
    for name, value in policy.network.state_dict().items():
        assert torch.equal(value, before[name]) != (name in trained_names), name


@EACH
@torch.no_grad()
def test_peft_loads_it_and_gives_the_same_logits(
    kind: str, checkpoints: Path, adapted: dict[str, Policy], tmp_path: Path
) -> None:
    policy = adapted[kind]
    policy.save_adapter(tmp_path / "phase-1")
    assert {path.name for path in (tmp_path / "phase-1").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    base = transformers.AutoModelForCausalLM.from_pretrained(
        checkpoints / kind, dtype=torch.float32
    )
    theirs = peft.PeftModel.from_pretrained(base, str(tmp_path / "phase-1")).eval()
    ids = some_ids()
    ours = logits_of(policy, ids)
    assert (ours - logits_of(Policy.load(str(checkpoints / kind)), ids)).abs().max() > 0.1
    if kind == "phi":  # whose row to ask is not trained, so it is in no adapter
        ours[..., policy.tokens.ask] = theirs(ids).logits[..., policy.tokens.ask]
    torch.testing.assert_close(ours, theirs(ids).logits, atol=2e-4, rtol=2e-4)


@EACH
def test_a_saved_adapter_continues_exactly(
    kind: str, checkpoints: Path, adapted: dict[str, Policy], tmp_path: Path
) -> None:
    policy = adapted[kind]
    policy.network.zero_grad()
    policy.save(tmp_path / "saved")
    assert not (tmp_path / "saved" / "model.safetensors").exists()
    again = Policy.load(str(tmp_path / "saved"), lora=LORA)
    assert again.base == str(checkpoints / kind)
    assert again.stops == policy.stops
    for a, b in zip(policy.trainable(), again.trainable(), strict=True):
        assert torch.equal(a, b)
    a, b = loss_of(policy), loss_of(again)
    assert torch.equal(a, b)
    a.backward()
    b.backward()
    for left, right in zip(policy.trainable(), again.trainable(), strict=True):
        assert torch.equal(left.grad, right.grad)
    again.save(tmp_path / "once-more")
    for name in ("adapter_model.safetensors", "tokenizer.json"):
        first, second = (tmp_path / place / name for place in ("saved", "once-more"))
        assert first.read_bytes() == second.read_bytes()


@EACH
@torch.no_grad()
def test_a_merged_model_needs_no_peft(
    kind: str, adapted: dict[str, Policy], tmp_path: Path
) -> None:
    policy = adapted[kind]
    policy.merged(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ids = some_ids()
    expected = logits_of(policy, ids)
    torch.testing.assert_close(theirs.eval()(ids).logits, expected, atol=2e-4, rtol=2e-4)
    torch.testing.assert_close(
        logits_of(Policy.load(str(tmp_path)), ids), expected, atol=2e-4, rtol=2e-4
    )


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("shift", [0.0, 2.0, float("-inf")])
def test_a_trained_row_counts_as_if_it_stood_in_the_weight(
    bias: bool, temperature: float, shift: float
) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(6, 11, bias=bias).requires_grad_(False)
    head = AskHead(plain, ask=4)
    with torch.no_grad():
        head.row.add_(torch.randn(6))
    hidden, taken = torch.randn(5, 6), torch.tensor([4, 0, 10, 4, 7])
    if shift == float("-inf"):
        taken = torch.tensor([1, 0, 10, 2, 7])
    row = head.row.detach().clone().requires_grad_(True)
    weight = torch.cat((plain.weight[:4], row[None], plain.weight[5:]))
    drawing = Drawing(1, temperature, shift)
    logits = nn.functional.linear(hidden, weight, plain.bias)
    torch.testing.assert_close(head(hidden), logits)
    if bias:
        return
    logs = shifted_logprobs(logits, 4, drawing)
    expected = logs.gather(1, taken[:, None]).squeeze(1)
    pairs = head_pairs(head, hidden, taken, 4, temperature, shift)
    torch.testing.assert_close(pairs[:, 0], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pairs[:, 1], logs[:, 4], atol=1e-5, rtol=1e-5)
    expected.sum().backward()
    pairs[:, 0].sum().backward()
    torch.testing.assert_close(head.row.grad, row.grad, atol=1e-5, rtol=1e-5)


def test_a_base_in_half_precision_carries_whole_adapters(checkpoints: Path, tmp_path: Path) -> None:
    for kind in ("qwen2-tied", "gpt2"):
        policy = trained(checkpoints / kind, dtype="bfloat16")
        for name, parameter in policy.network.named_parameters():
            wanted = torch.float32 if parameter.requires_grad else torch.bfloat16
            assert parameter.dtype == wanted, name
        assert loss_of(policy).isfinite()
        policy.save(tmp_path / kind)
        again = Policy.load(str(tmp_path / kind), dtype="bfloat16")
        assert torch.equal(loss_of(policy), loss_of(again))


def test_seeds_and_nothing_else_decide_how_an_adapter_starts(checkpoints: Path) -> None:
    def start(seed: int) -> Tensor:
        torch.rand(seed + 1)  # whatever was drawn before
        policy = Policy.load(str(checkpoints / "llama"), lora=LORA, seed=seed)
        return policy.trainable()[0]

    assert torch.equal(start(0), start(0))
    assert not torch.equal(start(0), start(1))


def test_settings_that_clash_are_refused(checkpoints: Path, tmp_path: Path) -> None:
    base = str(checkpoints / "llama")
    Policy.load(base, lora=LORA).save(tmp_path / "saved")
    with pytest.raises(ConfigError, match=r"lora.rank=2.*rank 4"):
        Policy.load(str(tmp_path / "saved"), lora=Lora(rank=2))
    strange = Lora(rank=2, targets=("no_such_layer",))
    head = Lora(rank=2, targets=("q_proj", "lm_head"))
    for backend in BACKENDS:
        with pytest.raises(ConfigError, match="no_such_layer"):
            Policy.load(base, lora=strange, backend=backend)
        with pytest.raises(ConfigError, match="the head takes no adapter"):
            Policy.load(base, lora=head, backend=backend)
    with pytest.raises(ConfigError, match=r"lora.rank"):
        Policy.load(base, lora=Lora(rank=0)).save_adapter(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"peft_type": "LORA", "r": 4}'])
def test_a_broken_adapter_is_refused(checkpoints: Path, tmp_path: Path, text: str) -> None:
    Policy.load(str(checkpoints / "llama"), lora=LORA).save(tmp_path)
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"adapter_config\.json"):
        Policy.load(str(tmp_path))


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"use_rslora": True}, "use_rslora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"alpha_pattern": {"q_proj": 2}}, "alpha_pattern"),
        ({"target_modules": ".*_proj"}, "target_modules"),
        ({"trainable_token_indices": [3]}, "tokens"),
        ({"bias": "lora_only"}, "bias"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights"),
    ],
)
def test_what_is_more_than_plain_lora_is_refused(
    checkpoints: Path, tmp_path: Path, setting: dict[str, Any], word: str
) -> None:
    Policy.load(str(checkpoints / "llama"), lora=LORA).save(tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | setting))
    with pytest.raises(CheckpointError, match=word):
        Policy.load(str(tmp_path))


def test_a_tensor_that_has_no_place_is_refused(checkpoints: Path, tmp_path: Path) -> None:
    Policy.load(str(checkpoints / "llama"), lora=LORA).save(tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    save_file(load_file(path) | {"base_model.model.lm_head.bias": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match=r"lm_head\.bias has no place"):
        Policy.load(str(tmp_path))


def test_an_adapter_alone_is_read_with_its_bases_tokens(checkpoints: Path, tmp_path: Path) -> None:
    """Its folder holds no tokenizer; the end may stand in the base's config.json alone."""
    base = shutil.copytree(checkpoints / "llama", tmp_path / "base")
    config = json.loads((base / "config.json").read_text()) | {"eos_token_id": [0, 7]}
    (base / "config.json").write_text(json.dumps(config))
    policy = Policy.load(str(base), lora=LORA)
    policy.save_adapter(tmp_path / "phase-1")
    policy.save(tmp_path / "saved")
    for name in ("phase-1", "saved"):
        again = Policy.load(str(tmp_path / name))
        assert again.tokens.ends == policy.tokens.ends == (0, 7)
        assert torch.equal(loss_of(again), loss_of(policy))


def test_an_adapter_without_its_tensors_is_refused(checkpoints: Path, tmp_path: Path) -> None:
    Policy.load(str(checkpoints / "llama"), lora=LORA).save(tmp_path)
    whole = (tmp_path / "adapter_model.safetensors").read_bytes()
    (tmp_path / "adapter_model.safetensors").write_bytes(whole[:-8])
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors"):
        Policy.load(str(tmp_path))


ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("targets", [ALL, ("q_proj", "v_proj"), ("k_proj", "up_proj")], ids=str)
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen2-tied"])
def test_an_adapter_of_peft_gives_its_logits_here(
    kind: str, targets: tuple[str, ...], backend: Backend, checkpoints: Path, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    config = peft.LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=list(targets),
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    theirs = peft.get_peft_model(network(kind), config).eval()
    theirs.save_pretrained(str(tmp_path))
    raw = json.loads((tmp_path / "adapter_config.json").read_text())
    raw["base_model_name_or_path"] = str(checkpoints / kind)
    (tmp_path / "adapter_config.json").write_text(json.dumps(raw))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((checkpoints / kind / name).read_bytes())
    ours = Policy.load(str(tmp_path), backend=backend)
    ids, known = some_ids(), ours.tokens.ask  # theirs has a row of its own for the request
    a, b = (logits[..., :known] for logits in (logits_of(ours, ids), theirs(ids).logits))
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    ours.merged(tmp_path / "merged")
    merged = logits_of(Policy.load(str(tmp_path / "merged")), ids)[..., :known]
    torch.testing.assert_close(merged, b, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("targets", [ALL, ("q_proj", "v_proj")], ids=str)
def test_both_backends_train_an_adapter_alike(
    targets: tuple[str, ...], checkpoints: Path, tmp_path: Path
) -> None:
    """From one start on disk, with equal gradients at every step."""
    lora = Lora(rank=3, alpha=6.0, targets=targets)
    start = Policy.load(str(checkpoints / "qwen2"), lora=lora)
    with torch.no_grad():
        for weight in start.trainable():
            weight.add_(torch.randn_like(weight) * 0.05)
    start.save(tmp_path)
    gradients = []
    for backend in BACKENDS:
        policy = Policy.load(str(tmp_path), backend=backend)
        loss_of(policy).backward()
        name_of = policy.model.transformers_name
        gradients.append(
            {name_of(n): p.grad for n, p in policy.network.named_parameters() if p.requires_grad}
        )
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-3, rtol=1e-3, msg=name)
