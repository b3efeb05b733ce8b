"""A model of the published size whose weights a rule makes: as fast and as large as the real one, and no download.

    python -m benchmarks.golden_model FOLDER

Writes FOLDER/bf16.safetensors and FOLDER/fp32.safetensors by way of pickles like the published ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.golden import write_pickles
from varsr.runtime.device import DTYPES
from varsr.weights.convert import convert


def main() -> None:
    """Make both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    pickles = write_pickles("official", folder)
    for name in ("bf16", "fp32"):
        convert(*pickles, folder / f"{name}.safetensors", DTYPES[name])
    for path in pickles:
        path.unlink()


if __name__ == "__main__":
    main()
