"""Scale-aligned two-dimensional rotary positions.

Every map is laid over the same square, so a token keeps its place in the image from scale to scale:
row r, column c of a p x p map stand at (P r / p, P c / p), P the side of the last map. The first half of
a head's channels turns with the row, the second half with the column.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from varsr.model.config import ModelConfig

BASE = 10_000.0


def rotary_table(config: ModelConfig) -> Tensor:
    """Cosines and sines for all tokens of all stages in order: (2, L, D / 2) in float32."""
    reference = config.latent_side
    prefix, class_token = _grid(config.prefix_side, reference), np.zeros((1, 2))
    positions = np.concatenate([prefix, class_token, *(_grid(side, reference) for side in config.scales[1:])])  # (L, 2)
    quarter = config.transformer.head_width // 4
    frequencies = BASE ** (-np.arange(quarter) / quarter)
    angles = (positions[:, :, None] * frequencies).reshape(len(positions), -1)
    return torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32))


def _grid(side: int, reference: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Rows and columns of a map's tokens, (side * side, 2), in steps of the last map, whose side is `reference`."""
    rows, columns = np.divmod(np.arange(side * side), max(side, 1))
    return np.stack([rows, columns], axis=1) * (reference / max(side, 1))


def rotate_(x: Tensor, table: Tensor) -> None:
    """Turn float32 x (R, L, N, H, D) in place: adjacent channel pairs by the angles of `table`, (2, [R,] L, D / 2)."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    pairs *= torch.complex(table[0], table[1])[..., None, None, :]
