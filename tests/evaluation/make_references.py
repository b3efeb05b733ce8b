"""Write references.json: what piq 0.8, scikit-image and basicsr 1.4.2 compute for the pairs of images.

    python -m tests.evaluation.make_references PATH_OF_UNPACKED_BASICSR

Run by hand in an environment that has piq 0.8 (installed with --no-deps), scikit-image and scipy.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch

from tests.evaluation.pairs import pairs
from varsr.tiling.array import FloatImage

for name in ("torchvision", "torchvision.models", "cv2"):
    sys.modules[name] = MagicMock()

import piq  # noqa: E402
from skimage.metrics import peak_signal_noise_ratio, structural_similarity  # noqa: E402

_Y = np.array([65.481, 128.553, 24.966])
_FULL = np.array([76.245, 149.685, 29.07])


def main() -> None:
    """Measure every pair."""
    niqe = _niqe(Path(sys.argv[1]))
    values = {name: _measured(result, reference, niqe) for name, (result, reference) in pairs().items()}
    target = Path(__file__).with_name("references.json")
    target.write_text(json.dumps(values, indent=1) + "\n")


def _measured(result: FloatImage, reference: FloatImage, niqe: Any) -> dict[str, float]:
    x, y = (np.asarray(image, np.float64) for image in (result, reference))
    tensors = [torch.from_numpy(image).permute(2, 0, 1)[None] for image in (x, y)]
    return {
        **{f"psnr {name}": _psnr(x @ w + o, y @ w + o) for name, w, o in (("y", _Y, 16), ("y-full", _FULL, 0))},
        "psnr rgb": _psnr(x * 255, y * 255),
        **{f"ssim {name}": _ssim(x @ w + o, y @ w + o) for name, w, o in (("y", _Y, 16), ("y-full", _FULL, 0))},
        "ssim rgb": _ssim(x * 255, y * 255, channel_axis=2),
        "haarpsi": float(piq.haarpsi(*tensors)),
        "gmsd": float(piq.gmsd(*tensors)),
        "mdsi": float(piq.mdsi(*tensors)),
        "niqe": float(niqe(x @ _Y + 16)),
    }


def _psnr(x: Any, y: Any) -> float:
    return float(peak_signal_noise_ratio(y, x, data_range=255))


def _ssim(x: Any, y: Any, **more: Any) -> float:
    _, full = structural_similarity(
        x, y, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True, **more
    )
    return float(full[5:-5, 5:-5].mean())  # where the window lies within the image


def _niqe(basicsr: Path) -> Any:
    """The package's function and its model, loaded without the package, whose dependencies are many."""
    for name in ("basicsr", "basicsr.metrics", "basicsr.utils"):
        sys.modules[name] = ModuleType(name)
    for name in ("utils.registry", "utils.matlab_functions", "utils.color_util", "metrics.metric_util", "metrics.niqe"):
        file = basicsr / "basicsr" / Path(*name.split(".")).with_suffix(".py")
        if name == "utils.color_util":
            sys.modules["basicsr.utils"].bgr2ycbcr = None  # type: ignore[attr-defined]
        spec = importlib.util.spec_from_file_location(f"basicsr.{name}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[f"basicsr.{name}"] = module
        spec.loader.exec_module(module)
    model = np.load(basicsr / "basicsr" / "metrics" / "niqe_pris_params.npz")
    function = sys.modules["basicsr.metrics.niqe"].niqe
    return lambda luma: function(
        luma.astype(np.float32).round(),
        *(model[name] for name in ("mu_pris_param", "cov_pris_param", "gaussian_window")),
    )


if __name__ == "__main__":
    main()
