"""Attention over a growing sequence of scales, with its key/value cache."""

from __future__ import annotations

from copy import copy
from functools import cache

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from varsr.model.config import TransformerConfig
from varsr.model.layers import Linear
from varsr.model.rope import rotate_

EPSILON = 1e-12  # of a length, so that zero can be divided by it


class KeyValueCache:
    """Keys and values of the finished scales, in memory allocated once.

    The last scale is read by nobody after it, so it is never stored: all blocks share one window that
    holds the past and the current scale together. That is a third of the memory of a full cache.
    """

    def __init__(
        self, depth: int, rows: int, heads: int, head_width: int, lengths: tuple[int, ...], like: Tensor
    ) -> None:
        self._capacity = sum(lengths[:-1])
        self._past = like.new_empty(depth, 2, rows, heads, self._capacity, head_width)
        self._window = like.new_empty(2, rows, heads, sum(lengths), head_width)
        self.length = 0

    def extend(self, block: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add a scale's (R, H, L, D) to a block and return all of the block's keys and values so far."""
        end = self.length + keys.shape[2]
        stored = self._past[block]
        if end <= self._capacity:
            target = stored[..., :end, :]
        else:
            target = self._window[..., :end, :]
            target[..., : self.length, :] = stored[..., : self.length, :]
        target[0, ..., self.length :, :] = keys
        target[1, ..., self.length :, :] = values
        return target[0], target[1]

    def of_rows(self, start: int, stop: int) -> KeyValueCache:
        """The cache of some rows, which shares the memory."""
        part = copy(self)
        part._past, part._window = self._past[:, :, start:stop], self._window[:, start:stop]
        return part

    def follow(self, part: KeyValueCache) -> None:
        """Give all rows the past of the first ones, whose cache `part` is."""
        self.length = part.length
        rows = part._past.shape[2]
        for start in range(rows, self._past.shape[2], rows):
            self._past[:, :, start : start + rows, :, : self.length] = part._past[..., : self.length, :]

    def advance(self, length: int) -> None:
        """Close a scale of `length` tokens once every block has added it."""
        self.length += length


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """softmax(q k^T) v for (R, H, L, D) queries over (R, H, M, D) keys and values."""
    if queries.device.type == "cpu" and queries.dtype == torch.bfloat16 and not _has_matrix_tiles():
        return _attend_by_products(queries, keys, values)
    return F.scaled_dot_product_attention(queries, keys, values, scale=1.0)


def _attend_by_products(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The same, one head at a time, as plain matrix products.

    On processors that multiply bfloat16 in vectors but not in tiles (AVX512-BF16 without AMX) those reach
    four times the rate of the fused kernel; with tiles the fused kernel is twice as fast as they are.
    """
    out = queries.new_empty(queries.shape)  # contiguous, so that its heads are views
    heads = zip(*(x.flatten(0, 1) for x in (queries, keys, values, out)), strict=True)
    for q, k, v, o in heads:
        torch.mm(torch.softmax(q @ k.T, dim=-1), v, out=o)
    return out


@cache
def _has_matrix_tiles() -> bool:
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return capabilities.get("amx_bf16", False)


class Attention(nn.Module):
    """Multi-head attention with cosine similarity: normalized queries and keys, a learned scale per head."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = Linear(config.width, 3 * config.width)
        self.query_scale = nn.Parameter(torch.empty(config.heads))
        self.proj = Linear(config.width, config.width)

    def forward(self, x: Tensor, table: Tensor, cache: KeyValueCache, block: int) -> Tensor:
        """X (R, L, C) with its rotary table (2, [R,] L, D / 2) -> (R, L, C)."""
        q, k, v = self.project(x, table)
        keys, values = cache.extend(block, k, v)
        out: Tensor = self.proj(rearrange(attend(q, keys, values), "r h l d -> r l (h d)"))
        return out

    def last(self, x: Tensor, table: Tensor, cache: KeyValueCache, block: int) -> Tensor:
        """The same for the last token alone, (R, 1, C), though all of x goes to the cache."""
        q, k, v = self.project(x, table)
        keys, values = cache.extend(block, k, v)
        out: Tensor = self.proj(rearrange(attend(q[:, :, -1:], keys, values), "r h l d -> r l (h d)"))
        return out

    def project(self, x: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (R, H, L, D) of x, rotated to their places."""
        queries_and_keys, values = self.qkv(x).unflatten(-1, (3, self.heads, -1)).split((2, 1), dim=2)
        both = queries_and_keys.float()  # (R, L, 2, H, D)
        length = torch.linalg.vector_norm(both, dim=-1, keepdim=True).clamp(min=EPSILON)
        scales = torch.stack((self.query_scale.float(), torch.ones_like(self.query_scale, dtype=torch.float32)))
        both = both * (scales[..., None] / length)
        rotate_(both, table)
        queries, keys = both.to(x.dtype).permute(2, 0, 3, 1, 4)
        return queries, keys, values.squeeze(2).transpose(1, 2)
