"""Pictures out of formulas alone: textured contours that cover each other, and fractals.

A formula is what pictures have in common; a view of it is one picture, with a place, turn, size,
colours and small changes of its own. So many pictures of one formula differ as photographs of one
thing do, and no photograph was needed. (Fractals of iterated maps: FractalDB, arXiv:2101.08515;
contours of harmonics: arXiv:2206.09132; shapes that cover each other: arXiv:2106.05963.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LAYERS = 4  # shapes of a picture
HARMONICS = 6  # of a contour
WAVES = 3  # of a texture
MAPS = 5  # of a fractal
_CHAINS, _STEPS, _SKIPPED = 128, 48, 8  # points of a fractal that run side by side, and how long
_FRACTALS = 0.4  # of the formulas have one


@dataclass(frozen=True, slots=True)
class Formulas:
    """n formulas. A texture's waves are (frequency along x, along y, phase, strength)."""

    waves: Tensor  # (n, 1 + LAYERS, WAVES, 4): of the ground, and of each shape
    colours: Tensor  # (n, 1 + LAYERS, 2, 3): the two that a texture goes between
    places: Tensor  # (n, LAYERS, 2): centres of the shapes, in [-1, 1]
    sizes: Tensor  # (n, LAYERS)
    stretched: Tensor  # (n, LAYERS, 2): how much, and the angle along which
    harmonics: Tensor  # (n, LAYERS, HARMONICS, 2): of the radius: strengths of cosine and sine
    rings: Tensor  # (n, LAYERS): 0 for a filled shape, else rings of this many to a radius
    maps: Tensor  # (n, MAPS, 2, 3): affine maps of a fractal
    shades: Tensor  # (n, MAPS, 3): the colour of each map's points
    fractal: Tensor  # (n,): whether there is one

    def __len__(self) -> int:
        return len(self.fractal)


def draw_formulas(count: int, random: torch.Generator) -> Formulas:
    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=random)

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=random)

    angle, frequency = uniform(0, 6.2832, 1 + LAYERS, WAVES), uniform(0, 1, 1 + LAYERS, WAVES)
    frequency = 1.0 * 14.0**frequency  # as many coarse ones as fine ones
    waves = torch.stack(
        [
            frequency * angle.cos(),
            frequency * angle.sin(),
            uniform(0, 6.2832, 1 + LAYERS, WAVES),
            uniform(0.2, 1.5, 1 + LAYERS, WAVES),
        ],
        dim=-1,
    )
    order = torch.arange(1, HARMONICS + 1)
    harmonics = normal(LAYERS, HARMONICS, 2) * (0.45 / order[:, None])
    filled = uniform(0, 1, LAYERS) < 0.7
    return Formulas(
        waves,
        uniform(0, 1, 1 + LAYERS, 2, 3),
        uniform(-0.8, 0.8, LAYERS, 2),
        0.15 * 4.0 ** uniform(0, 1, LAYERS),
        torch.stack([uniform(1, 2.2, LAYERS), uniform(0, 3.1416, LAYERS)], dim=-1),
        harmonics,
        torch.where(filled, 0.0, uniform(2, 6, LAYERS)),
        _contracting(uniform(0, 6.2832, MAPS, 2), uniform(0.25, 0.85, MAPS, 2), normal(MAPS, 2)),
        uniform(0, 1, MAPS, 3),
        uniform(0, 1) < _FRACTALS,
    )


def _contracting(angles: Tensor, sizes: Tensor, moves: Tensor) -> Tensor:
    """Affine maps (n, MAPS, 2, 3): turned, shrunk along two axes, turned again, moved."""
    first, second = (_turn(angles[..., place]) for place in (0, 1))
    linear = first @ torch.diag_embed(sizes) @ second
    return torch.cat([linear, moves[..., None]], dim=-1)


def _turn(angle: Tensor) -> Tensor:
    cosine, sine = angle.cos(), angle.sin()
    rows = [torch.stack([cosine, -sine], dim=-1), torch.stack([sine, cosine], dim=-1)]
    return torch.stack(rows, dim=-2)


def draw_views(formulas: Formulas, size: int, random: torch.Generator) -> Tensor:
    """One picture of each formula: (n, 3, size, size) in [0, 1]."""
    count = len(formulas)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=random)

    zoom = 0.45 * 2.4 ** uniform(0, 1, 1, 1)
    turn = _turn(uniform(-0.6, 0.6)) * zoom
    mirrored = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    turn = turn * torch.stack([mirrored, torch.ones(count)], dim=-1)[:, None]
    moved = uniform(-0.35, 0.35, 2)
    side = (torch.arange(size) + 0.5) * (2 / size) - 1
    grid = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1).flatten(0, 1)
    seen = torch.einsum("pj,nij->npi", grid, turn) + moved[:, None]  # (n, pixels, 2)
    pixel = (2 / size) * zoom[:, 0]

    picture = _texture(formulas, 0, seen, uniform(-0.5, 0.5, WAVES))
    for layer in range(LAYERS):
        shape = _shape(formulas, layer, seen, pixel, uniform(-0.12, 0.12, HARMONICS, 2))
        picture = picture + shape[..., None] * (
            _texture(formulas, layer + 1, seen, uniform(-0.5, 0.5, WAVES)) - picture
        )
    if bool(formulas.fractal.any()):
        picture = _with_fractals(formulas, picture, size, turn, moved, random)
    pictures = picture.unflatten(1, (size, size)).permute(0, 3, 1, 2)
    return _as_photographed(pictures, random)


def _texture(formulas: Formulas, layer: int, seen: Tensor, shift: Tensor) -> Tensor:
    """(n, pixels, 3): between two colours, by waves that bend each other a little."""
    x, y, phase, strength = formulas.waves[:, layer].unbind(-1)
    bend = torch.zeros(seen.shape[:2])
    for wave in range(WAVES):
        along = x[:, wave, None] * seen[..., 0] + y[:, wave, None] * seen[..., 1]
        bend = bend + strength[:, wave, None] * torch.sin(
            along + (phase[:, wave] + shift[:, wave])[:, None] + 0.7 * bend
        )
    share = torch.sigmoid(2 * bend)[..., None]
    first, second = formulas.colours[:, layer, :, None].unbind(1)
    return first + share * (second - first)


def _shape(formulas: Formulas, layer: int, seen: Tensor, pixel: Tensor, change: Tensor) -> Tensor:
    """(n, pixels): how much of a pixel a shape covers."""
    stretch, angle = formulas.stretched[:, layer].unbind(-1)
    centred = seen - formulas.places[:, layer, None]
    along = _turn(angle)
    turned = torch.einsum("npj,nij->npi", centred, along)
    turned = turned * torch.stack([stretch, 1 / stretch], dim=-1)[:, None]
    radius, direction = turned.norm(dim=-1), torch.atan2(turned[..., 1], turned[..., 0])
    order = torch.arange(1, HARMONICS + 1)
    waves = direction[..., None] * order
    cosine, sine = (formulas.harmonics[:, layer] * (1 + change))[:, None].unbind(-1)
    edge = 1 + (waves.cos() * cosine + waves.sin() * sine).sum(dim=-1)
    edge = formulas.sizes[:, layer, None] * edge.clamp(min=0.25)
    inside = torch.sigmoid((edge - radius) / (0.5 * pixel))
    rings = formulas.rings[:, layer, None]
    ringed = torch.sigmoid(6 * torch.sin(6.2832 * rings * radius / edge))
    return inside * torch.where(rings > 0, ringed, 1.0)


def _with_fractals(
    formulas: Formulas,
    picture: Tensor,
    size: int,
    turn: Tensor,
    moved: Tensor,
    random: torch.Generator,
) -> Tensor:
    """The pictures with the points of their fractals, coloured by the map that made them."""
    some = formulas.fractal.nonzero().flatten()
    count = len(some)
    maps = formulas.maps[some]
    maps = maps * (1 + 0.06 * torch.randn(maps.shape, generator=random))
    rows = torch.arange(count)[:, None]
    at = torch.zeros(count, _CHAINS, 2)
    points, makers = [], []
    for step in range(_STEPS):
        which = torch.randint(MAPS, (count, _CHAINS), generator=random)
        used = maps[rows, which]
        at = (used[..., :2] @ at[..., None])[..., 0] + used[..., 2]
        if step >= _SKIPPED:
            points.append(at)
            makers.append(which)
    where, maker = torch.cat(points, dim=1), torch.cat(makers, dim=1)
    middle = where.median(dim=1, keepdim=True).values
    spread = (where - middle).abs().flatten(1).quantile(0.9, dim=1).clamp(min=1e-3)
    where = 0.8 * (where - middle) / spread[:, None, None]
    # From the world to the picture: the other way round than pixels look at the world.
    back = torch.linalg.inv(turn[some])
    where = torch.einsum("npj,nij->npi", where - moved[some, None], back)
    cell = ((where + 1) * (size / 2)).floor().long()
    inside = ((cell >= 0) & (cell < size)).all(dim=-1)
    cell = (cell[..., 1] * size + cell[..., 0]).clamp(0, size * size - 1)
    shade = formulas.shades[some][rows, maker] * inside[..., None]
    hits = torch.zeros(count, size * size).scatter_add_(1, cell, inside.float())
    colour = torch.zeros(count, size * size, 3).scatter_add_(
        1, cell[..., None].expand(-1, -1, 3), shade
    )
    cover = (hits / 3).clamp(max=1)[..., None]
    mixed = picture[some] * (1 - cover) + cover * colour / hits.clamp(min=1)[..., None]
    return picture.index_copy(0, some, mixed)


def _as_photographed(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Other light, mixed or no colours, softness and noise."""
    count = len(pictures)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=random)

    mixing = torch.eye(3) + 0.25 * torch.randn(count, 3, 3, generator=random)
    mixing = mixing / mixing.sum(dim=2, keepdim=True).clamp(min=0.5)
    pictures = torch.einsum("nchw,nkc->nkhw", pictures, mixing)
    grey = uniform(0, 1, 1, 1, 1) < 0.25
    pictures = torch.where(grey, pictures.mean(dim=1, keepdim=True), pictures)
    mean = pictures.mean(dim=(1, 2, 3), keepdim=True)
    light, contrast = uniform(-0.2, 0.2, 1, 1, 1), uniform(0.5, 1.5, 1, 1, 1)
    pictures = mean + light + contrast * (pictures - mean)
    soft = torch.nn.functional.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
    share = uniform(0, 1, 1, 1, 1) * (uniform(0, 1, 1, 1, 1) < 0.5)
    pictures = pictures + share * (soft - pictures)
    noise = 0.06 * uniform(0, 1, 1, 1, 1)
    pictures = pictures + noise * torch.randn(pictures.shape, generator=random)
    return pictures.clamp(0, 1)
