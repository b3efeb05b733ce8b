"""The whole model: low-resolution tiles in, restored latents out, in as many steps as it has scales."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from varsr.model import guidance
from varsr.model.config import ModelConfig
from varsr.model.corrector import Corrector
from varsr.model.prefix import PrefixEncoder
from varsr.model.quantizer import Quantizer
from varsr.model.sampling import Sampling, TileNoise, choose
from varsr.model.tokenizer import Decoder
from varsr.model.transformer import Transformer


@dataclass(frozen=True)
class Prediction:
    """One scale as predicted."""

    scale: int
    logits: Tensor
    """Guided, (T, L, V)."""
    tokens: Tensor
    """(T, L)."""
    vectors: Tensor
    """What stands for the tokens in the latent, (T, L, Z): their codes, or codes drawn to the expected ones."""
    latent: Tensor
    """The sum of all scales so far, (T, Z, P, P) in float32."""
    hidden: Tensor
    """What the last block left for each label, (G, T, L, C)."""


class VARSR(nn.Module):
    """All that upscaling needs. The tokenizer's encoder is not part of it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.transformer.width
        self.prefix = PrefixEncoder(config.prefix, width)
        self.transformer = Transformer(config)
        self.quantizer = Quantizer(config)
        self.corrector = Corrector(config.corrector, config.tokenizer.channels, width)
        self.decoder = Decoder(config.tokenizer)

    def predict(self, tiles: Tensor, strength: float, sampling: Sampling, noise: TileNoise) -> Iterator[Prediction]:
        """Predict the token maps of tiles (T, 3, S, S) in [-1, 1], scale by scale, under guidance `strength`."""
        config, transformer, quantizer = self.config, self.transformer, self.quantizer
        labels = guidance.labels(strength, tiles.device)
        x = transformer.embed_prefix(self.prefix(tiles), labels)
        cache = transformer.new_cache(len(x), x)
        latent = x.new_zeros(
            len(tiles), config.tokenizer.channels, config.latent_side, config.latent_side, dtype=torch.float32
        )
        for scale in range(len(config.scales)):
            if scale > 0:
                vectors = quantizer.at_scale(latent, scale).to(tiles.dtype)
                x = transformer.embed_scale(vectors, scale, len(labels))
            x = transformer.stage(x, labels, scale, cache)
            # The head is linear, so guidance may come before it: one projection instead of two.
            at_scale = guidance.strength_at(strength, scale, len(config.scales))
            logits = transformer.head(guidance.guide(transformer.head_input(x, labels), at_scale)).float()
            tokens = choose(logits, sampling, noise)
            vectors = quantizer.codes(tokens)
            if sampling.fidelity:
                vectors = vectors.lerp(quantizer.expected_codes(logits), sampling.fidelity)
            latent = latent + quantizer.contribution(vectors, scale)
            yield Prediction(scale, logits, tokens, vectors, latent, x.unflatten(0, (len(labels), -1)))

    def correct(self, last: Prediction, strength: float, noise: TileNoise) -> Tensor:
        """The last scale's latent (T, Z, P, P) with the corrector's sample added."""
        z = self.corrector_condition(last)
        shape = (z.shape[2], self.config.tokenizer.channels)
        residual = self.corrector.sample(z, strength, lambda _: noise.normal(*shape))
        return last.latent + residual.transpose(1, 2).unflatten(2, last.latent.shape[2:])

    def corrector_condition(self, last: Prediction) -> Tensor:
        """What the corrector is told of each token of the last scale: (G, T, L, C)."""
        return last.hidden + self.transformer.word_embed(last.vectors.to(last.hidden.dtype))

    def restore(
        self,
        tiles: Tensor,
        strength: float,
        sampling: Sampling,
        noise: TileNoise,
        corrected: bool,
        on_scale: Callable[[int], None],
    ) -> Tensor:
        """Latents (T, Z, P, P) of restored tiles (T, 3, S, S); `on_scale` is told each scale as it is done."""
        for prediction in self.predict(tiles, strength, sampling, noise):
            on_scale(prediction.scale)
        return self.correct(prediction, strength, noise) if corrected else prediction.latent
