"""Photographs and textures: whole pictures, and tiles of two photographs in two pools."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor

from actnorm import environment
from actnorm.data.splits import Draw, Split

PHOTOGRAPHS, TEXTURES = ("china", "flower"), ("brick", "grass")
TILE = 48  # pixels along a side


def picture(name: str) -> Tensor:
    """Return a photograph or a texture, ``(3, height, width)``, from 0 (black) to 1.

    Parameters
    ----------
    name
        ``china`` or ``flower``, the photographs that come with scikit-learn (424 by 640 pixels,
        cut to whole blocks of eight), or ``brick`` or ``grass``, gray textures of 256 by 256.

    Notes
    -----
    Photographs: danielbuechele and vultilion, flickr, CC BY 2.0, as bundled with scikit-learn.
    Textures: as bundled with scikit-image 0.26, at half their size, CC0 (brick from CC0Textures,
    grass by linolafett).
    """
    if name not in PHOTOGRAPHS + TEXTURES:
        known = ", ".join(PHOTOGRAPHS + TEXTURES)
        raise ValueError(f"name must be one of {known}, not {name!r}")
    return _picture(name).clone()  # whoever writes to it writes to no later one


@lru_cache
def _picture(name: str) -> Tensor:
    if name in PHOTOGRAPHS:
        pixels = load_sample_image(f"{name}.jpg")[:424]
    else:
        pixels = _texture(Path(__file__).with_name(f"{name}.jpg"))
    scaled = torch.from_numpy(pixels.astype(np.float32) / 255)
    return scaled.permute(2, 0, 1).contiguous()


def _texture(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as gray:
        return np.asarray(gray.convert("RGB"))


@lru_cache
def _tiles(pool: str) -> tuple[Tensor, ...]:
    """The tiles of each photograph in a pool: a third is for tuning."""
    shuffle, found = np.random.default_rng(20_240_229), []
    for name in PHOTOGRAPHS:
        tiles = _picture(name).unfold(1, TILE, TILE).unfold(2, TILE, TILE)
        tiles = tiles.permute(1, 2, 0, 3, 4).flatten(0, 1)
        order = torch.from_numpy(shuffle.permutation(len(tiles)))
        third = len(tiles) // 3
        found.append(tiles[order[:third] if pool == "tuning" else order[third:]])
    return tuple(found)


def photographs(pool: str = "judging") -> Draw:
    """Return a draw of splits of tiles of two photographs, ``china`` and ``flower``.

    Each photograph is cut into 104 tiles of 48 by 48 pixels, and these once into two pools:
    ``tuning`` (34 each) and ``judging`` (70 each). Each replica shuffles the tiles of a pool with
    its ``split`` stream and cuts those of each photograph two thirds, one sixth, one sixth. Whole
    gray levels are spread evenly over their width, so that no tile is constant. In a rehearsal
    (``ACTNORM_POOL=tuning``) both names stand for the tuning pool.

    Returns
    -------
    Callable from a `torch.Generator` to a `Split` of ``(tiles (n, 3, 48, 48), photograph (n,))``.
    """
    sources = _tiles(environment.pool(pool))

    def draw(generator: torch.Generator) -> Split:
        parts: list[list[tuple[Tensor, Tensor]]] = [[], [], []]
        for label, tiles in enumerate(sources):
            order = torch.randperm(len(tiles), generator=generator, device="cpu")
            how = {"generator": generator, "device": "cpu", "dtype": torch.float32}
            dither = torch.rand(tiles.shape, **how) - 0.5
            spread, sixth = tiles + dither / 255, len(tiles) // 6
            sizes = [len(tiles) - 2 * sixth, sixth, sixth]
            for part, rows in zip(parts, order.split(sizes), strict=True):
                part.append((spread[rows], torch.full((len(rows),), label, device="cpu")))
        return Split(*(tuple(map(torch.cat, zip(*part, strict=True))) for part in parts))

    return draw
