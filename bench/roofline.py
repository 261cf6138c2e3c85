"""What a machine can do at best, measured: bytes read and products taken per second.

On a CPU, where one thread works, time is the processor's own: others on the machine disturb it
less. On a GPU it is wall-clock.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import torch
from torch import Tensor

from understudy.models.decoder import Shape
from understudy.models.product import Product, can_pack

_BUFFER = {"cpu": 1 << 30, "cuda": 1 << 32}  # bytes, beyond every cache
_SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices multiplied


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def now(device: str) -> float:
    """Seconds of the clock that figures of this device are taken by, once all work is done."""
    if device == "cpu":
        return time.process_time()
    synchronise(device)
    return time.perf_counter()


def peak_gigabytes(device: str) -> float:
    """The most that this process has held: resident on the CPU, allocated on a GPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def seconds_of(work: Callable[[], object], device: str, repeats: int) -> list[float]:
    """Of every repetition, the first left out."""
    found = []
    for _ in range(repeats + 1):
        started = now(device)
        work()
        found.append(now(device) - started)
    return found[1:]


def bandwidth(device: str, repeats: int = 7) -> float:
    """Bytes per second, of the better of reading a large buffer and of copying its half."""
    buffer = torch.ones(_BUFFER[device] // 4, device=device)
    source, target = buffer.chunk(2)
    size = buffer.numel() * buffer.element_size()
    reading = min(seconds_of(buffer.sum, device, repeats))
    copying = min(seconds_of(lambda: target.copy_(source), device, repeats))
    return size / min(reading, copying)  # a copy reads one half and writes the other


def peak_flops(device: str, dtype: torch.dtype, repeats: int = 7) -> float:
    """Floating-point operations per second of a large product of matrices."""
    side = _SIDE[device]
    a, b = (torch.ones(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / min(seconds_of(lambda: a @ b, device, repeats))


def products_seconds(weights: list[Tensor], rows: int, device: str, repeats: int = 5) -> float:
    """Seconds of nothing but the products of so many rows with each of a model's weights, which lie
    in the order that is quickest to read."""
    packed = [Product(w.detach(), None, can_pack(w.device, w.dtype)) for w in weights]
    like = {w.shape[1]: torch.ones(rows, w.shape[1], dtype=w.dtype, device=device) for w in weights}

    @torch.no_grad()
    def work() -> None:
        for weight, product in zip(weights, packed, strict=True):
            product(like[weight.shape[1]])

    return min(seconds_of(work, device, repeats))


def weights_of(shape: Shape) -> tuple[int, int]:
    """How many weights the blocks have, and how many the head; an embedding is only looked up."""
    heads = shape.num_attention_heads + 2 * shape.num_key_value_heads
    block = shape.hidden_size * (heads + shape.num_attention_heads) * shape.head_dim
    block += 3 * shape.hidden_size * shape.intermediate_size
    return block * shape.num_hidden_layers, shape.hidden_size * shape.vocab_size


def decode_bytes(shape: Shape, prompts: int, group: int, prompt: int, own: int, size: int) -> int:
    """What one decoding step must read: every weight once, the keys and values of each prompt
    once, and those that each row has added. size: bytes of a number."""
    per_position = 2 * shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim
    positions = prompts * (prompt + group * own)
    return size * (sum(weights_of(shape)) + per_position * positions)


def decode_flops(shape: Shape, rows: int) -> int:
    """Of one decoding step, attention left out."""
    return 2 * rows * sum(weights_of(shape))


def training_flops(shape: Shape, prompt_tokens: int, completion_tokens: int) -> int:
    """Of one forward and backward pass in which each prompt is read once for its whole group, and
    only completions' tokens meet the head; attention left out."""
    blocks, head = weights_of(shape)
    return 6 * (blocks * (prompt_tokens + completion_tokens) + head * completion_tokens)
