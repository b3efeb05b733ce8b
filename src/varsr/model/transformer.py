"""The autoregressive transformer over the stages of a tile.

Rows are sequences: first all tiles under their positive labels, then all under the negative one. The
modulation that each block draws from its class embedding depends on the label alone, so a checkpoint of
a super-resolution model holds its values, (2, 6, C), in place of the network that makes them. With
thousands of classes the network is the smaller of the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from varsr.model.attention import Attention, KeyValueCache
from varsr.model.config import ModelConfig
from varsr.model.layers import Linear, modulated_norm
from varsr.model.rope import rotary_table

GELU_SLOPE = math.sqrt(8 / math.pi)


def new_modulation(config: ModelConfig, values: int) -> nn.Parameter | Linear:
    """The modulation by labels: `values` vectors for each of them, or a layer that makes them of its embedding."""
    width = config.transformer.width
    if config.classes is None:
        return nn.Parameter(torch.empty(config.labels, values, width))
    return Linear(width, values * width)


def modulation_of(source: nn.Parameter | nn.Module, labels: Tensor, embedding: Tensor) -> Tensor:
    """The modulation of labels (...), whose embedding is (labels, C): (..., values, C)."""
    if isinstance(source, nn.Parameter):
        return source[labels]
    made: Tensor = source(F.silu(embedding[labels]))
    return made.unflatten(-1, (-1, embedding.shape[-1]))


class FeedForward(nn.Module):
    """Two linear layers around a GELU (tanh form), four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = Linear(width, 4 * width)
        self.fc2 = Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        out: Tensor = self.fc2(self._widened(x))
        return out

    def _widened(self, x: Tensor) -> Tensor:
        if not _fuses(self.fc1, x):
            return _gelu(self.fc1(x))
        fused: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.fc1.weight, self.fc1.bias.to(x.dtype), "gelu", [], "tanh"
        )
        return fused


def _gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form, x (1 + tanh(u / 2)) / 2 with u = sqrt(8 / pi) (x + 0.044715 x^3).

    That is x times the logistic function of u, which on a CPU takes a third of what PyTorch's tanh takes.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
        return F.gelu(x, approximate="tanh")
    u = (x * x).mul_(0.044715 * GELU_SLOPE).add_(GELU_SLOPE).mul_(x)
    return u.sigmoid_().mul_(x)


def _fuses(layer: nn.Module, x: Tensor) -> bool:
    """True where oneDNN computes layer and GELU as one; by itself the GELU of bfloat16 takes as long as the layer.

    The operator is PyTorch's own, made for its compiler: it has no gradient, may not be there, and is of use where
    processors have vectors of 512 bits.
    """
    return (
        isinstance(layer, Linear)
        and x.device.type == "cpu"
        and x.dtype == layer.weight.dtype == torch.bfloat16
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and not torch.is_grad_enabled()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


class Block(nn.Module):
    """Attention and feed-forward, each modulated by the row's label."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.modulation = new_modulation(config, 6)
        self.attention = Attention(config.transformer)
        self.ffn = FeedForward(config.transformer.width)

    def forward(self, x: Tensor, modulation: Tensor, table: Tensor, cache: KeyValueCache, index: int) -> Tensor:
        """X (R, L, C), its modulation (6, R, 1, C) -> (R, L, C)."""
        gamma1, gamma2, scale1, scale2, shift1, shift2 = modulation
        x = torch.addcmul(x, gamma1, self.attention(modulated_norm(x, scale1, shift1), table, cache, index))
        return torch.addcmul(x, gamma2, self.ffn(modulated_norm(x, scale2, shift2)))

    def finish_prefix(self, x: Tensor, modulation: Tensor, table: Tensor, cache: KeyValueCache, index: int) -> Tensor:
        """The block over the first stage where only its last token is read on: (R, L, C) -> (R, 1, C).

        The other tokens leave their keys and values in the cache and need nothing more.
        """
        gamma1, gamma2, scale1, scale2, shift1, shift2 = modulation
        x, attended = x[:, -1:], self.attention.last(modulated_norm(x, scale1, shift1), table, cache, index)
        x = torch.addcmul(x, gamma1, attended)
        return torch.addcmul(x, gamma2, self.ffn(modulated_norm(x, scale2, shift2)))


class Transformer(nn.Module):
    """Embeddings, blocks and head; it keeps no state between calls, the cache is the caller's."""

    rotary: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.transformer.width
        self.class_embedding = nn.Parameter(torch.empty(config.labels, width))
        self.position = nn.Parameter(torch.empty(config.prefix_length, width))
        self.level = nn.Parameter(torch.empty(len(config.scales), width))
        self.word_embed = Linear(config.tokenizer.channels, width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.transformer.depth))
        self.head_modulation = new_modulation(config, 2)
        self.head = Linear(width, config.tokenizer.codes)
        self.register_buffer("rotary", rotary_table(config), persistent=False)

    def new_cache(self, rows: int, like: Tensor) -> KeyValueCache:
        """An empty cache for `rows` sequences in the type and on the device of `like`."""
        sizes = self.config.transformer
        return KeyValueCache(sizes.depth, rows, sizes.heads, sizes.head_width, self.config.stage_lengths, like)

    def embed_prefix(self, prefix: Tensor, labels: Tensor) -> Tensor:
        """Prefix tokens (T, P P, C) under each row of labels (G, T) -> first-stage input (G T, P P + 1, C)."""
        classes = self.class_embedding[labels].to(prefix.dtype)
        tokens = torch.cat(
            (repeat(prefix, "t l c -> (g t) l c", g=len(labels)), rearrange(classes, "g t c -> (g t) 1 c")), dim=1
        )
        return tokens + (self.position + self.level[0]).to(prefix.dtype)

    def embed_scale(self, vectors: Tensor, scale: int, groups: int) -> Tensor:
        """Latent vectors (T, p p, Z) of a later scale -> its input (G T, p p, C), the same in all groups."""
        x: Tensor = self.word_embed(vectors)
        return repeat(x + self.level[scale].to(x.dtype), "t l c -> (g t) l c", g=groups)

    def stage(
        self, x: Tensor, labels: Tensor, scale: int, cache: KeyValueCache, positions: Tensor | None = None
    ) -> Tensor:
        """Run one stage's input (G T, L, C) under labels (G, T); of the first stage only its class token comes back.

        Where x holds a part of the stage's tokens only, `positions` (T, L) says which.
        """
        length = x.shape[1]
        table = self._table(scale)
        if positions is not None:
            table = table[:, positions.repeat(len(labels), 1)]  # (2, G T, L, D / 2)
        last = len(self.blocks) - 1
        for index, block in enumerate(cast("Iterable[Block]", self.blocks)):
            made = modulation_of(block.modulation, labels, self.class_embedding)
            modulation = rearrange(made.to(x.dtype), "g t six c -> six (g t) 1 c")
            run = block.finish_prefix if scale == 0 and index == last else block
            x = run(x, modulation, table, cache, index)
        cache.advance(length)
        return x

    def _table(self, scale: int) -> Tensor:
        """The rotary table of a stage, (2, L, D / 2)."""
        lengths = self.config.stage_lengths
        start = sum(lengths[:scale])
        return self.rotary[:, start : start + lengths[scale]]

    def head_input(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Hidden states (G, T, L, C) under labels (G, T), normalized and modulated: the input of the head."""
        made = modulation_of(self.head_modulation, labels, self.class_embedding)
        scale, shift = made.to(hidden.dtype)[:, :, :, None].unbind(2)
        return modulated_norm(hidden, scale, shift)
