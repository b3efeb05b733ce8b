"""A folder upscaled in a run that is killed again and again, compared to the same without interruption.

    python -m benchmarks.interrupted FOLDER --scale 4

The run is ended by Ctrl-C, by SIGTERM and by SIGKILL, at moments that a seed chooses, and begun again with
--skip-existing. In the end both folders must hold the same files to the byte, and nothing else.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


def main() -> None:
    """Run both and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", default="4")
    parser.add_argument("--format", default="png")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        whole, killed = Path(temporary) / "whole", Path(temporary) / "killed"
        command = [sys.executable, "-m", "varsr", "upscale", str(options.folder), "--recursive", "--quiet"]
        command += ["--scale", options.scale, "--format", options.format, "--skip-existing", "--output-dir"]
        started = time.monotonic()
        code = subprocess.run([*command, str(whole)], stdout=subprocess.DEVNULL).returncode
        seconds = time.monotonic() - started
        expected = contents(whole)
        print(f"uninterrupted: {len(expected)} files, {seconds:.0f} s, exit code {code}")
        for number in SIGNALS:
            share = rng.uniform(0.1, 0.3)
            process = subprocess.Popen([*command, str(killed)], stdout=subprocess.DEVNULL)
            time.sleep(share * seconds)
            process.send_signal(number)
            code = process.wait()
            print(f"{number.name} after {share * seconds:.0f} s: {len(contents(killed))} files, exit code {code}")
        code = subprocess.run([*command, str(killed)], stdout=subprocess.DEVNULL).returncode
        found = contents(killed)
        same = sum(found.get(name) == data for name, data in expected.items())
        print(f"begun for the last time: {len(found)} files, exit code {code}, {same} identical to the byte")
        sys.exit(0 if found == expected else 1)


def contents(folder: Path) -> dict[Path, bytes]:
    """All files below a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


if __name__ == "__main__":
    main()
