"""The whole model: low-resolution tiles in, restored latents out, in as many steps as it has scales."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from varsr.model import guidance
from varsr.model.attention import KeyValueCache
from varsr.model.config import ModelConfig
from varsr.model.corrector import Corrector
from varsr.model.inference import InferenceConfig
from varsr.model.prefix import PrefixEncoder
from varsr.model.quantizer import Quantizer
from varsr.model.sampling import Noise, choose
from varsr.model.shortcuts import disputed, everywhere, pick, places_of, put
from varsr.model.tokenizer import Decoder
from varsr.model.transformer import Transformer


@dataclass(frozen=True)
class Prediction:
    """One scale as predicted."""

    logits: Tensor
    """Guided, (T, L, V)."""
    tokens: Tensor
    """(T, L)."""
    vectors: Tensor
    """What stands for the tokens in the latent, (T, L, Z): their codes, or codes drawn to the expected ones."""
    latent: Tensor
    """The sum of all scales so far, (T, Z, P, P) in float32."""
    hidden: Tensor
    """What the last block left for each label that was run, (G, T, L, C)."""
    places: Tensor | None
    """Which tokens of the scale these are, (T, L), where not all were computed."""


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

    def predict(self, tiles: Tensor, generation: InferenceConfig, noise: Noise) -> Iterator[Prediction]:
        """Predict the token maps of tiles (T, 3, S, S) in [-1, 1], scale by scale."""
        config, transformer, quantizer = self.config, self.transformer, self.quantizer
        strength, sampling = generation.guidance_scale, generation.sampling
        all_labels = guidance.labels(strength, tiles.device)
        first_guided = guidance.first_scale(generation.guided_scales, len(config.scales))
        labels = all_labels[:1] if first_guided else all_labels
        x = transformer.embed_prefix(self.prefix(tiles), labels)
        whole_cache = transformer.new_cache(len(tiles) * len(all_labels), x)
        cache = whole_cache.of_rows(0, len(x))
        x = transformer.stage(x, labels, 0, cache)
        latent = x.new_zeros(
            len(tiles), config.tokenizer.channels, config.latent_side, config.latent_side, dtype=torch.float32
        )
        places = None
        for scale, side in enumerate(config.scales):
            if scale == first_guided and len(labels) < len(all_labels):
                whole_cache.follow(cache)
                labels, cache = all_labels, whole_cache
            if scale > 0:
                before = x if places is None else put(x, places.repeat(len(labels), 1), config.scales[scale - 1] ** 2)
                vectors = quantizer.at_scale(latent, scale)
                places = places_of(generation.keep_ratio, vectors, scale, len(config.scales))
                entering = transformer.embed_scale(_at(vectors, places).to(tiles.dtype), scale, len(labels))
                if scale == len(config.scales) - 1 and generation.guided_tokens < 1 and len(labels) > 1:
                    x = self._last_stage(entering, labels, cache, places, before, generation.guided_tokens)
                else:
                    x = transformer.stage(entering, labels, scale, cache, places)
            # The head is linear, so guidance may come before it: one projection instead of two.
            at_scale = guidance.strength_at(strength, scale, len(config.scales))
            logits = transformer.head(guidance.guide(transformer.head_input(x, labels), at_scale)).float()
            tokens = choose(logits, sampling, noise)
            vectors = quantizer.codes(tokens)
            if generation.fidelity:
                vectors = vectors.lerp(quantizer.expected_codes(logits), generation.fidelity)
            whole = vectors if places is None else put(vectors, places, side**2)
            latent = latent + quantizer.contribution(whole, scale)
            yield Prediction(logits, tokens, vectors, latent, x.unflatten(0, (len(labels), -1)), places)

    def _last_stage(
        self,
        entering: Tensor,
        labels: Tensor,
        cache: KeyValueCache,
        places: Tensor | None,
        before: Tensor,
        guided: float,
    ) -> Tensor:
        """The last scale (2 T, L, C), under the negative label only where the labels differed in the one before.

        Elsewhere they are taken to agree: what the positive label made stands for both.
        """
        scale, tiles = len(self.config.scales) - 1, len(entering) // 2
        side = self.config.scales[scale]
        run = self.transformer.stage
        if places is None:
            places = everywhere(tiles, side**2, entering.device)
        positive = run(entering[:tiles], labels[:1], scale, cache.of_rows(0, tiles), places)
        chosen = disputed(before[:tiles], before[tiles:], side, places, guided)
        negative = run(
            pick(entering[tiles:], chosen),
            labels[1:],
            scale,
            cache.of_rows(tiles, 2 * tiles),
            places.gather(1, chosen),
        )
        index = chosen[..., None].expand_as(negative)
        return torch.cat((positive, positive.scatter(1, index, negative)))

    def correct(self, last: Prediction, generation: InferenceConfig, noise: Noise) -> Tensor:
        """The last scale's latent (T, Z, P, P) with the corrector's sample added, where tokens were computed."""
        z = self.corrector_condition(last)
        cells, channels = self.config.latent_side**2, self.config.tokenizer.channels

        def drawn(_: int) -> Tensor:
            return _at(noise.normal(cells, channels).to(z.device), last.places)

        residual = self.corrector.sample(
            z, generation.guidance_scale, drawn, generation.corrector_steps, generation.corrector_gain
        )
        if last.places is not None:
            residual = put(residual, last.places, cells)
        return last.latent + residual.transpose(1, 2).unflatten(2, last.latent.shape[2:])

    def corrector_condition(self, last: Prediction) -> Tensor:
        """What the corrector is told of each token of the last scale: (G, T, L, C)."""
        return last.hidden + self.transformer.word_embed(last.vectors.to(last.hidden.dtype))

    def generate(self, tiles: Tensor, generation: InferenceConfig, noise: Noise) -> Iterator[Tensor]:
        """Latents (T, Z, P, P) of tiles (T, 3, S, S) after each scale, then corrected ones; the last are the result."""
        for prediction in self.predict(tiles, generation, noise):
            yield prediction.latent
        if generation.corrector_steps:
            yield self.correct(prediction, generation, noise)


def _at(tokens: Tensor, places: Tensor | None) -> Tensor:
    """The tokens (T, L, C) at some places (T, K), or all of them."""
    return tokens if places is None else pick(tokens, places)
