"""Mutated files and random options, from a seed: only documented exits, nothing lost, nothing of a wrong size.

python -m tests.fuzz --files 5000 --commands 500 --seed 1
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import tempfile
from pathlib import Path

from PIL import Image

from tests.golden import DATA
from tests.in_process import Result, lines, run
from tests.nano import write_nano

CODES = {0, 1, 2, 3, 4, 5, 6, 7, 8}
SECONDS = 120  # that a command may take
PER_FOLDER = 50
SUFFIXES = (".jpg", ".png", ".webp", ".tif", ".bmp", ".gif", ".avif")


def originals(folder: Path) -> list[Path]:
    """Whole files to mutate: of every format, by several writers."""
    folder.mkdir(parents=True)
    with Image.open(DATA / "dandelion.jpg") as image:
        small = image.resize((16, 12))
    for suffix in SUFFIXES:
        small.save(folder / f"plain{suffix}")
    small.convert("L").save(folder / "grey.png")
    small.quantize(16).save(folder / "palette.png")
    small.convert("CMYK").save(folder / "ink.tif")
    small.save(folder / "two.webp", save_all=True, append_images=[small.rotate(90)], duration=50)
    for source in (*(DATA / "faults").iterdir(), *(DATA / "writers").iterdir()):
        if source.stat().st_size < 50_000:
            shutil.copy(source, folder / f"{source.parent.name}-{source.name}")
    return sorted(folder.iterdir())


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A copy with bytes changed, cut out, doubled, swapped for special ones, or cut off."""
    damaged = bytearray(data)
    for _ in range(rng.randrange(1, 7)):
        place, length = rng.randrange(max(1, len(damaged))), rng.randrange(1, 40)
        kind = rng.randrange(6)
        if kind == 0:
            damaged[place : place + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del damaged[place : place + length]
        elif kind == 2:
            damaged[place:place] = damaged[place : place + length]
        elif kind == 3:
            damaged[place : place + 4] = rng.choice(
                (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80")
            )
        elif kind == 4:
            other = rng.randrange(max(1, len(damaged)))
            damaged[place : place + length] = damaged[other : other + length]
        elif rng.random() < 0.3:
            del damaged[place:]
    return bytes(damaged)


def check_files(work: Path, model: Path, count: int, seed: int) -> dict[str, int]:
    """Upscale `count` mutated files; return how many were done and how many failed. Raises `AssertionError`."""
    rng = random.Random(seed)
    sources = originals(work / "originals")
    totals = {"done": 0, "failed": 0}
    for start in range(0, count, PER_FOLDER):
        folder, out = work / f"in{start}", work / f"out{start}"
        folder.mkdir()
        for number in range(min(PER_FOLDER, count - start)):
            source = rng.choice(sources)
            (folder / f"{number:03}-{source.name}").write_bytes(mutated(source.read_bytes(), rng))
        before = _hashes(folder)
        result = _command(
            "upscale", folder, "-d", out, "-s", "1", "-m", model, "--json", "--max-pixels", "300000", "--no-corrector",
            "--cfg", "0", "--name", "{stem}-out{ext}",
        )  # fmt: skip
        assert _hashes(folder) == before, "inputs were changed"
        told = [json.loads(line) for line in lines(result)]
        assert len(told) == len(before), result.err
        for line in told:
            totals[line["status"]] += 1
            if line["status"] == "done":
                with Image.open(line["output"]) as image:
                    image.load()
                    assert list(image.size) == line["output_size"], line
            else:
                assert not Path(line["output"]).exists(), line
        shutil.rmtree(folder)
        shutil.rmtree(out, ignore_errors=True)
    return totals


CHOICES: dict[str, tuple[str, ...]] = {
    "--scale": ("1", "1.5", "2", "8", "0", "-1", "nan", "inf", "1e9", "x"),
    "--width": ("40", "0", "-3", "100000000000"),
    "--longest": ("33", "1", "9999999"),
    "--megapixels": ("0.001", "inf", "nan", "0"),
    "--format": ("png", "jpg", "webp", "tiff", "bmp", "gif", "avif", "xyz", ""),
    "--quality": ("1", "100", "0", "101"),
    "--name": ("{stem}{ext}", "{stem}_{size}{ext}", "{model}", "{", "../x", "{source_ext}{stem}", "", "x" * 300),
    "--background": ("white", "#123", "rgb(1,2,3)", "nonsense", "#12"),
    "--shard": ("1/1", "2/3", "0/1", "1"),
    "--max-pixels": ("1", "100", "1000000000"),
    "--cfg": ("0", "3", "1000", "1e5", "nan", "inf", "-1"),
    "--fidelity": ("0", "1", "0.3", "2", "nan"),
    "--seed": ("0", "7", "-1", "9" * 25),
    "--top-k": ("0", "1", "5", "-1"),
    "--top-p": ("0", "0.5", "1", "2", "nan"),
    "--temperature": ("0.01", "1", "1e9", "nan", "0"),
    "--color-fix": ("adain", "wavelet", "none", "x"),
    "--speed": ("default", "fast", "x"),
    "--tile-overlap": ("0", "1", "3", "4", "99", "-1"),
    "--keep-ratio": ("0.01", "1", "0.5", "0", "nan"),
    "--guided-scales": ("2", "3", "100", "1"),
    "--corrector-steps": ("2", "5", "1001", "1"),
    "--batch-size": ("1", "3", "7", "0", "1000"),
    "--device": ("cpu", "auto", "cuda", "tpu", "cuda:9", ""),
    "--dtype": ("auto", "fp32", "bf16", "fp16", "int8", "fp8"),
    "--output": ("out.png", "out.xyz", "sub/out.png", "folder", "folder/", "/dev/null", "-", ""),
    "--output-dir": ("made", "folder", "one.jpg", "one.jpg/below", ""),
}
FLAGS = (
    "--recursive", "--overwrite", "--skip-existing", "--dry-run", "--fail-fast", "--preserve-times", "--json",
    "--no-corrector", "--lossless", "--no-compile", "--quiet", "--verbose",
)  # fmt: skip
INPUTS = (
    "one.jpg",
    "clear.png",
    "folder",
    "folder/two.gif",
    "bad.jpg",
    "nowhere.jpg",
    "",
    "-",
    "https://x.org/a",
    "*.jpg",
)


def check_commands(work: Path, model: Path, count: int, seed: int) -> dict[int, int]:
    """Run `count` commands with random options; return how often each exit code came. Raises `AssertionError`."""
    rng = random.Random(seed)
    codes: dict[int, int] = {}
    here = Path.cwd()
    for number in range(count):
        place = work / f"command{number}"
        _lay(place)
        before = _hashes(place)
        arguments = rng.sample(INPUTS, rng.choice((1, 1, 1, 2, 3)))
        for option in rng.sample(sorted(CHOICES), rng.randrange(0, 6)):
            arguments += [option, rng.choice(CHOICES[option])]
        arguments += rng.sample(FLAGS, rng.randrange(0, 4))
        os.chdir(place)
        try:
            result = _command("upscale", *arguments, "-m", model, stdin=(place / "one.jpg").read_bytes())
        finally:
            os.chdir(here)
        changed = {name for name, value in _hashes(place).items() if before.get(name, value) != value}
        assert not changed or "--overwrite" in arguments, (arguments, changed)
        assert set(before) <= set(_hashes(place)), (arguments, "a file is gone")
        codes[result.code] = codes.get(result.code, 0) + 1
        shutil.rmtree(place)
    return codes


def _lay(place: Path) -> None:
    (place / "folder").mkdir(parents=True)
    with Image.open(DATA / "dandelion.jpg") as image:
        small = image.resize((20, 16))
    small.save(place / "one.jpg")
    small.convert("RGBA").rotate(30).save(place / "clear.png")
    small.save(place / "folder" / "two.gif", save_all=True, append_images=[small.rotate(90)], duration=40)
    small.save(place / "folder" / "three.tif")
    (place / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 and nothing more")


def _command(*arguments: str | Path, stdin: bytes = b"") -> Result:
    """Run a command; what no command may do is an `AssertionError`."""

    def too_long(*_: object) -> None:
        raise AssertionError(f"it hangs: {arguments}")

    kept = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        result = run(*arguments, stdin=stdin)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, kept)
    assert result.code in CODES, (arguments, result)
    assert "Traceback" not in result.err, (arguments, result.err)
    assert "should not have happened" not in result.err, (arguments, result.err)
    return result


def _hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main() -> None:
    """Check as many files and commands as are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--commands", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_nano(work / "nano.safetensors")
        print("commands by exit code", check_commands(work, work / "nano.safetensors", options.commands, options.seed))
        print("files", check_files(work, work / "nano.safetensors", options.files, options.seed))


if __name__ == "__main__":
    main()
