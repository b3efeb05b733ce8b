"""VARSR: low-resolution tiles or classes in, latents out, scale by scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from varsr.model import guidance
from varsr.model.config import ModelConfig
from varsr.model.corrector import Corrector
from varsr.model.dial_decoder import DialDecoder
from varsr.model.inference import DecodeConfig, InferenceConfig
from varsr.model.passes import Conditions, LabelPasses
from varsr.model.prefix import PrefixEncoder
from varsr.model.pruning import Selection, select
from varsr.model.quantizer import Quantizer
from varsr.model.sampling import Noise, choose
from varsr.model.tokenizer import Decoder
from varsr.model.transformer import Transformer

MIRRORED: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))
"""Axes along which the views of an image are mirrored."""


@dataclass(frozen=True)
class Prediction:
    """One scale as predicted. K of its L tokens were computed."""

    logits: Tensor
    """Guided, (T, K, V)."""
    tokens: Tensor
    """(T, K)."""
    vectors: Tensor
    """The tokens' vectors in the latent, (T, K, Z): their codes, or between those and the expected ones."""
    latent: Tensor
    """The sum of all scales so far, (T, Z, P, P) in float32."""
    hidden: Tensor
    """Hidden states of the last block under each label that was run, (G, T, K, C)."""
    selection: Selection


class VARSR(nn.Module):
    """All that upscaling needs. The tokenizer's encoder is not part of it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.transformer.width
        self.prefix = PrefixEncoder(config.prefix, width) if config.prefix else None
        self.transformer = Transformer(config)
        self.quantizer = Quantizer(config)
        self.corrector = Corrector(config.corrector, config.tokenizer.channels, width)
        tokenizer = config.tokenizer
        self.decoder = DialDecoder(config.dial, tokenizer) if config.dial else Decoder(tokenizer)

    def conditions_of_tiles(self, tiles: Tensor) -> Conditions:
        """The conditions of low-resolution tiles (T, 3, S, S) in [-1, 1], for a super-resolution model."""
        assert self.prefix is not None, "a class-to-image model has no prefix encoder"
        positive = torch.full((len(tiles),), guidance.POSITIVE, device=tiles.device)
        return Conditions(self.prefix(tiles), positive)

    def conditions_of_classes(self, classes: Tensor, dtype: torch.dtype) -> Conditions:
        """The conditions of classes (T), for a class-to-image model that computes in `dtype`."""
        nothing = torch.empty(len(classes), 0, self.config.transformer.width, dtype=dtype, device=classes.device)
        return Conditions(nothing, classes)

    def predict(self, conditions: Conditions, inference: InferenceConfig, noise: Noise) -> Iterator[Prediction]:
        """Predict the token maps of tiles, scale by scale."""
        passes = LabelPasses(self.transformer, inference, conditions)
        latent = self._empty_latent(conditions.prefix)
        for scale in range(len(self.config.scales)):
            if scale == 0:
                selection, x = Selection(1), passes.embed_first()
            else:
                so_far = self.quantizer.at_scale(latent, scale)
                selection = select(inference.keep_ratio, so_far, scale, len(self.config.scales))
                x = passes.embed(selection.gather(so_far).to(conditions.prefix.dtype), scale)
            hidden = passes.run(x, scale, selection)
            logits = passes.guided_logits(hidden, scale)
            tokens = choose(logits, inference.sampling, noise)
            vectors = self.quantizer.vectors(tokens, logits, inference.fidelity)
            latent = latent + self.quantizer.contribution(selection.scatter(vectors), scale)
            yield Prediction(logits, tokens, vectors, latent, hidden, selection)

    def correct(self, last: Prediction, inference: InferenceConfig, noise: Noise) -> Tensor:
        """The last scale's latent (T, Z, P, P) with the corrector's sample added, where tokens were computed."""
        z = self.corrector_condition(last)
        length, channels = self.config.latent_side**2, self.config.tokenizer.channels

        def draw(_: int) -> Tensor:
            return last.selection.gather(noise.normal(length, channels).to(z.device))

        weight = guidance.scale_at(inference.guidance_scale, len(self.config.scales) - 1, self.config)
        residual = last.selection.scatter(
            self.corrector.sample(z, weight, draw, inference.corrector_steps, inference.corrector_gain)
        )
        return last.latent + rearrange(residual, "t (h w) z -> t z h w", h=self.config.latent_side)

    def corrector_condition(self, last: Prediction) -> Tensor:
        """The corrector's condition for each token of the last scale: (G, T, K, C)."""
        return last.hidden + self.transformer.word_embed(last.vectors.to(last.hidden.dtype))

    def generate(self, conditions: Conditions, inference: InferenceConfig, noise: Noise) -> Iterator[Tensor]:
        """Latents (T, Z, P, P) of T tiles after each scale, then corrected ones; the last are the result."""
        last = None
        for last in self.predict(conditions, inference, noise):
            yield last.latent
        if inference.corrector_steps and last is not None:
            yield self.correct(last, inference, noise)

    def decode(self, latent: Tensor, upsampled: Tensor, decoding: DecodeConfig) -> Tensor:
        """Latents (T, Z, P, P) with their upsampled input (T, 3, S, S) -> pixels (T, 3, S, S), all in [-1, 1].

        With a dial it is the mean over `decoding.views` views, each mirrored back (self-ensemble; Timofte et al. 2016).
        """
        if not isinstance(self.decoder, DialDecoder):
            return self.decoder(latent, upsampled)
        if decoding.views == 1:
            return self.decoder(latent, upsampled, decoding.realism)
        views = [
            self.decoder(latent.flip(axes), upsampled.flip(axes), decoding.realism).flip(axes)
            for axes in MIRRORED[: decoding.views]
        ]
        return torch.stack(views).float().mean(0)

    def _empty_latent(self, like: Tensor) -> Tensor:
        side, channels = self.config.latent_side, self.config.tokenizer.channels
        return like.new_zeros(len(like), channels, side, side, dtype=torch.float32)
