"""Where a model of transformers keeps its blocks, and their query, key and value layers."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from understudy.errors import ConfigError
from understudy.federate.foundations.foundation import Target

# Names of the layers that make queries, keys and values, by the models that have them.
SEPARATE = (
    ("q_proj", "k_proj", "v_proj"),  # Llama, Qwen, ViT, DINOv2, SigLIP
    ("query", "key", "value"),  # BERT, RoBERTa, BEiT, older ViT and DINOv2
    ("q_lin", "k_lin", "v_lin"),  # DistilBERT
    ("q", "k", "v"),  # MPNet
)
FUSED = (
    "c_attn",  # GPT-2
    "qkv",  # timm
    "qkv_proj",  # Phi-3
    "Wqkv",  # ModernBERT
    "query_key_value",  # GPT-NeoX, BLOOM
)


def find_blocks(name: str, model: nn.Module) -> tuple[nn.ModuleList, list[Target]]:
    """The one stack of a model's blocks, and the target of each. name: for a refusal."""
    names = {module: path for path, module in model.named_modules()}
    stacks = []
    for stack in model.modules():
        if isinstance(stack, nn.ModuleList) and len(stack):
            groups = [list(_groups(block)) for block in stack]
            if all(len(each) == 1 for each in groups):
                stacks.append((stack, [each[0] for each in groups]))
    if len(stacks) != 1:
        raise ConfigError(
            f"foundation={name}: {type(model).__name__} has {len(stacks)} stacks of blocks with "
            "one set of query, key and value layers each; give a model with one (ViT, DINOv2, "
            f"BERT, a causal language model), whose layers are named as {_known()}"
        )
    stack, found = stacks[0]
    return stack, [_target(name, number, layers, names) for number, layers in enumerate(found)]


def _known() -> str:
    return ", ".join([*("/".join(each) for each in SEPARATE), *FUSED])


def _groups(block: nn.Module) -> Iterator[list[nn.Module]]:
    """Every set of layers in a block that make queries, keys and values."""
    for parent in block.modules():
        children = dict(parent.named_children())
        for names in (*SEPARATE, *((name,) for name in FUSED)):
            layers = [children[each] for each in names if each in children]
            if len(layers) == len(names) and all(_is_linear(layer) for layer in layers):
                yield layers


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or _is_conv1d(layer)


def _is_conv1d(layer: nn.Module) -> bool:
    """GPT-2's linear layer, whose weight lies the other way round."""
    return type(layer).__name__ == "Conv1D"


def _target(name: str, block: int, layers: list[nn.Module], names: dict[nn.Module, str]) -> Target:
    sizes = []
    for layer in layers:
        rows, columns = layer.get_parameter("weight").shape
        sizes.append((columns, rows) if _is_conv1d(layer) else (rows, columns))
    inputs = {columns for _, columns in sizes}
    if len(inputs) > 1:
        raise ConfigError(
            f"foundation={name}: the query, key and value layers of block {block} read inputs of "
            f"widths {sorted(inputs)}; give a model where they read the same"
        )
    outputs = tuple(rows for rows, _ in sizes)
    return Target(block, tuple(names[layer] for layer in layers), inputs.pop(), outputs)
