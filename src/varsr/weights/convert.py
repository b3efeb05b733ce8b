"""The published pickles to one safetensors file, with everything that inference can know beforehand folded in.

Folded: the modulation that each block's AdaLN network makes of the 2 class embeddings of a super-resolution model (a
third of its parameters), the bias of q, k and v, and the per-head query scale exp(min(s, ln 100)).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from varsr.errors import WeightsError
from varsr.model.config import (
    CLASS_SCALES,
    OFFICIAL_SCALES,
    ConfigError,
    CorrectorConfig,
    ModelConfig,
    PrefixConfig,
    TokenizerConfig,
    TransformerConfig,
)
from varsr.weights.checkpoint import check_keys, is_matrix, write_checkpoint

State = Mapping[str, Tensor]
Part = Literal["vqvae", "varsr"]
LOCATIONS: dict[Part, tuple[str, str]] = {"vqvae": ("trainer", "vae_local"), "varsr": ("trainer", "var_wo_ddp")}

# Official name, ours. {n} stands for a number, {p} for weight or bias.
RENAMES: tuple[tuple[str, str], ...] = (
    ("{e}coder.conv_in.{p}", "{e}coder.conv_in.{p}"),
    ("{e}coder.norm_out.{p}", "{e}coder.norm_out.{p}"),
    ("{e}coder.conv_out.{p}", "{e}coder.conv_out.{p}"),
    ("encoder.down.{n}.block.{m}.{l}.{p}", "encoder.levels.{n}.blocks.{m}.{l}.{p}"),
    ("encoder.down.{n}.block.{m}.nin_shortcut.{p}", "encoder.levels.{n}.blocks.{m}.shortcut.{p}"),
    ("encoder.down.{n}.attn.{m}.{a}.{p}", "encoder.levels.{n}.attentions.{m}.{a}.{p}"),
    ("encoder.down.{n}.attn.{m}.proj_out.{p}", "encoder.levels.{n}.attentions.{m}.proj.{p}"),
    ("encoder.down.{n}.downsample.conv.{p}", "encoder.levels.{n}.resample.conv.{p}"),
    ("decoder.up.{n}.block.{m}.{l}.{p}", "decoder.levels.{n}.blocks.{m}.{l}.{p}"),
    ("decoder.up.{n}.block.{m}.nin_shortcut.{p}", "decoder.levels.{n}.blocks.{m}.shortcut.{p}"),
    ("decoder.up.{n}.attn.{m}.{a}.{p}", "decoder.levels.{n}.attentions.{m}.{a}.{p}"),
    ("decoder.up.{n}.attn.{m}.proj_out.{p}", "decoder.levels.{n}.attentions.{m}.proj.{p}"),
    ("decoder.up.{n}.upsample.conv.{p}", "decoder.levels.{n}.resample.conv.{p}"),
    ("{e}coder.mid.block_1.{l}.{p}", "{e}coder.middle.0.{l}.{p}"),
    ("{e}coder.mid.attn_1.{a}.{p}", "{e}coder.middle.1.{a}.{p}"),
    ("{e}coder.mid.attn_1.proj_out.{p}", "{e}coder.middle.1.proj.{p}"),
    ("{e}coder.mid.block_2.{l}.{p}", "{e}coder.middle.2.{l}.{p}"),
    ("quant_conv.{p}", "encoder.project.{p}"),
    ("post_quant_conv.{p}", "decoder.project.{p}"),
    ("quantize.embedding.weight", "quantizer.codebook"),
    ("quantize.quant_resi.qresi_ls.{n}.{p}", "quantizer.refinements.{n}.{p}"),
    ("pos_start", "transformer.position"),
    ("con_embedding.conv_in.{p}", "prefix.conv_in.{p}"),
    ("con_embedding.blocks.{n}.{p}", "prefix.blocks.{n}.{p}"),
    ("con_embedding.conv_out.{p}", "prefix.conv_out.{p}"),
    ("word_embed.{p}", "transformer.word_embed.{p}"),
    ("class_emb.weight", "transformer.class_embedding"),
    ("lvl_embed.weight", "transformer.level"),
    ("blocks.{n}.attn.mat_qkv.weight", "transformer.blocks.{n}.attention.qkv.weight"),
    ("blocks.{n}.attn.proj.{p}", "transformer.blocks.{n}.attention.proj.{p}"),
    ("blocks.{n}.ffn.fc{m}.{p}", "transformer.blocks.{n}.ffn.fc{m}.{p}"),
    ("head.{p}", "transformer.head.{p}"),
    ("decoder_norm.{p}", "corrector.norm.{p}"),
    ("diffloss.net.time_embed.mlp.{n}.{p}", "corrector.time.{n}.{p}"),
    ("diffloss.net.cond_embed.{p}", "corrector.condition.{p}"),
    ("diffloss.net.input_proj.{p}", "corrector.input.{p}"),
    ("diffloss.net.res_blocks.{n}.in_ln.{p}", "corrector.blocks.{n}.norm.{p}"),
    ("diffloss.net.res_blocks.{n}.mlp.{m}.{p}", "corrector.blocks.{n}.mlp.{m}.{p}"),
    ("diffloss.net.res_blocks.{n}.adaLN_modulation.1.{p}", "corrector.blocks.{n}.modulation.{p}"),
    ("diffloss.net.final_layer.adaLN_modulation.1.{p}", "corrector.output_modulation.{p}"),
    ("diffloss.net.final_layer.linear.{p}", "corrector.output.{p}"),
)
# Of a class-to-image model, whose modulation is not folded: it has too many labels.
CLASS_RENAMES: tuple[tuple[str, str], ...] = (
    ("blocks.{n}.ada_lin.1.{p}", "transformer.blocks.{n}.modulation.{p}"),
    ("head_nm.ada_lin.1.{p}", "transformer.head_modulation.{p}"),
)
# Ours, and the official tensors it is folded from.
FOLDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("transformer.blocks.{n}.modulation", ("blocks.{n}.ada_lin.1.weight", "blocks.{n}.ada_lin.1.bias")),
    ("transformer.head_modulation", ("head_nm.ada_lin.1.weight", "head_nm.ada_lin.1.bias")),
    ("transformer.blocks.{n}.attention.qkv.bias", ("blocks.{n}.attn.q_bias", "blocks.{n}.attn.v_bias")),
    ("transformer.blocks.{n}.attention.query_scale", ("blocks.{n}.attn.scale_mul_1H11",)),
)
UNUSED = ("quantize.ema_vocab_hit_SV", "lvl_1L", "attn_bias_for_masking", "blocks.{n}.attn.zero_k_bias")
_FIELDS = {
    "n": r"\d+",
    "m": r"\d+",
    "p": "weight|bias",
    "e": "en|de",
    "l": "norm1|conv1|norm2|conv2",
    "a": "norm|qkv",
}


def _translate(key: str, source: str, target: str) -> str | None:
    """`key`, if it has the form `source`, in the form `target`."""
    pattern = re.sub(r"\\\{(\w)\\\}", lambda m: f"(?P<{m[1]}>{_FIELDS[m[1]]})", re.escape(source))
    match = re.fullmatch(pattern, key)
    return target.format(**match.groupdict()) if match else None


def rename(key: str, has_classes: bool = False) -> str | None:
    """Our name of an official tensor that is taken over as it is."""
    table = RENAMES + CLASS_RENAMES if has_classes else RENAMES
    return next((name for theirs, ours in table if (name := _translate(key, theirs, ours))), None)


def official_names(key: str) -> tuple[str, ...]:
    """The official tensors that ours is made of."""
    for theirs, ours in (*RENAMES, *CLASS_RENAMES):
        if name := _translate(key, ours, theirs):
            return (name,)
    for ours, sources in FOLDS:
        names = tuple(name for source in sources if (name := _translate(key, ours, source)))
        if names:
            return names
    return (key,)


def matches_any(key: str, forms: tuple[str, ...]) -> bool:
    """True for an official name that has one of the forms."""
    return any(_translate(key, form, form) for form in forms)


def infer_config(state: State, scales: tuple[int, ...] | None = None) -> ModelConfig:
    """Read every size from the shapes of both state dicts together.

    Scales leave no trace but their number: they are the official ones where there are ten over a
    32 x 32 prefix, else they must be given. Raises `WeightsError` naming what is missing.
    """

    def shape(key: str) -> torch.Size:
        if key not in state:
            raise _malformed(f"the tensor {key} is missing")
        return state[key].shape

    def count(prefix: str) -> int:
        numbers = {int(match[1]) for key in state if (match := re.match(rf"{re.escape(prefix)}\.(\d+)\.", key))}
        return max(numbers, default=-1) + 1

    width = shape("encoder.conv_in.weight")[0]
    levels = count("encoder.down")
    multipliers = [shape(f"encoder.down.{n}.block.0.conv1.weight")[0] // width for n in range(levels)]
    has_classes = not any(key.startswith("con_embedding.") for key in state) and shape("pos_start")[1] == 1
    if scales is None:
        scales = _official_scales(shape("lvl_embed.weight")[0], shape("pos_start")[1])
    try:
        return ModelConfig(
            tokenizer=TokenizerConfig(
                width=width,
                codes=shape("quantize.embedding.weight")[0],
                channels=shape("quantize.embedding.weight")[1],
                multipliers=tuple(multipliers),
                encoder_blocks=count("encoder.down.0.block"),
                decoder_blocks=count("decoder.up.0.block"),
                refinements=count("quantize.quant_resi.qresi_ls"),
            ),
            prefix=None if has_classes else PrefixConfig(_prefix_widths(shape, count("con_embedding.blocks") // 2)),
            transformer=TransformerConfig(
                depth=count("blocks"),
                width=shape("word_embed.weight")[0],
                heads=shape("blocks.0.attn.scale_mul_1H11")[1],
            ),
            corrector=CorrectorConfig(
                width=shape("diffloss.net.input_proj.weight")[0],
                blocks=count("diffloss.net.res_blocks"),
                frequencies=shape("diffloss.net.time_embed.mlp.0.weight")[1],
            ),
            scales=scales,
            classes=shape("class_emb.weight")[0] - 1 if has_classes else None,
            guides_first_scale=has_classes,
        )
    except ConfigError as error:
        raise _malformed(str(error)) from error


def _prefix_widths(shape: Callable[[str], torch.Size], steps: int) -> tuple[int, ...]:
    later = [shape(f"con_embedding.blocks.{2 * n + 1}.weight")[0] for n in range(steps)]
    return (shape("con_embedding.conv_in.weight")[0], *later)


def _official_scales(levels: int, first_stage: int) -> tuple[int, ...]:
    for scales, tokens in ((OFFICIAL_SCALES, OFFICIAL_SCALES[-1] ** 2 + 1), (CLASS_SCALES, 1)):
        if (levels, first_stage) == (len(scales), tokens):
            return scales
    raise _malformed(
        f"it has {levels} scales and a first stage of {first_stage} tokens; known are 10 scales "
        f"over {OFFICIAL_SCALES[-1] ** 2 + 1} tokens, and 12 over 1"
    )


def convert_state(state: State, config: ModelConfig) -> Iterator[tuple[str, Tensor]]:
    """Our tensors, one after the other, from both official state dicts together, unchanged in type.

    Raises `WeightsError` naming any tensor that is unknown, missing or of the wrong shape.
    """
    names = {key: rename(key, config.classes is not None) for key in state}
    without_heir = (*UNUSED, *(source for _, sources in FOLDS for source in sources))
    if unknown := [key for key, name in names.items() if name is None and not matches_any(key, without_heir)]:
        raise _malformed(f"the tensor {unknown[0]} is unknown")
    for key, name in names.items():
        if name is not None:
            yield name, state[key].squeeze(0) if key == "pos_start" else state[key]
    yield from _fold(state, config)


def _fold(state: State, config: ModelConfig) -> Iterator[tuple[str, Tensor]]:
    def get(key: str) -> Tensor:
        if key not in state:
            raise _malformed(f"the tensor {key} is missing")
        return state[key].float()

    def modulation(key: str) -> Tensor:
        made = F.silu(get("class_emb.weight")) @ get(f"{key}.ada_lin.1.weight").T + get(f"{key}.ada_lin.1.bias")
        return made.unflatten(-1, (-1, config.transformer.width))

    if config.classes is None:
        yield "transformer.head_modulation", modulation("head_nm")
    for n in range(config.transformer.depth):
        source, target = f"blocks.{n}", f"transformer.blocks.{n}"
        q_bias, v_bias = get(f"{source}.attn.q_bias"), get(f"{source}.attn.v_bias")
        scale = get(f"{source}.attn.scale_mul_1H11").flatten()
        if config.classes is None:
            yield f"{target}.modulation", modulation(source)
        yield f"{target}.attention.qkv.bias", torch.cat((q_bias, torch.zeros_like(q_bias), v_bias))
        yield f"{target}.attention.query_scale", scale.clamp(max=math.log(100)).exp()


def convert(vqvae: Path, varsr: Path, output: Path, dtype: torch.dtype) -> ModelConfig:
    """Convert two published pickles into `output`, matrices in `dtype`; return the model's configuration.

    The file appears whole or not at all. Raises `WeightsError` where a pickle cannot be read safely or
    holds another model, `OutputError` where the result cannot be written.
    """
    state = {**read_pickle(vqvae, "vqvae"), **read_pickle(varsr, "varsr")}
    config = infer_config(state)
    tensors = {
        key: tensor.to(dtype if is_matrix(key, tensor) else torch.float32).contiguous()
        for key, tensor in convert_state(state, config)
    }
    check_keys(
        {key: tuple(tensor.shape) for key, tensor in tensors.items()},
        config,
        describe=lambda key: " and ".join(official_names(key)),
        source=f"{vqvae.name} with {varsr.name}",
    )
    write_checkpoint(output, tensors, config)
    return config


def read_pickle(path: Path, part: Part) -> State:
    """The state dict of a part, memory-mapped. Nothing in the pickle is executed.

    Raises `WeightsError` where the file cannot be read so.
    """
    try:
        data = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist.", "Check the path.") from error
    except UnpicklingError as error:
        raise WeightsError(
            f"{path} was refused: it holds more than tensors ({_first_line(error)}).",
            "A pickle can run any program when it is read, so varsr reads plain tensors only. "
            "Ask its author for a safetensors file or a plain state dict.",
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        raise WeightsError(
            f"{path} is not a readable PyTorch checkpoint ({_first_line(error)}).",
            "Download it again, or check the path.",
        ) from error
    return _unwrap(data, LOCATIONS[part], path)


def _unwrap(data: Any, location: tuple[str, ...], path: Path) -> State:
    """The state dict at its published location, or the data itself where it is one already."""
    inner = data
    for name in location:
        inner = inner.get(name) if isinstance(inner, Mapping) else None
    state = data if inner is None else inner
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(
            f"{path} holds no model under {'/'.join(location)}.",
            "Give the published VQVAE.pth first and VARSR.pth second.",
        )
    return state


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")


def _malformed(reason: str) -> WeightsError:
    return WeightsError(f"This is not a VARSR checkpoint: {reason}.", "Check that both files are of the same release.")
