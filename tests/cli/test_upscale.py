"""The program as people run it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.conftest import Run
from tests.golden import DATA


def complains(result: subprocess.CompletedProcess[str], code: int, words: str) -> None:
    """The program failed with one line on standard error, nothing on standard output and no traceback."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith("varsr: ")
    assert words in result.stderr


def test_an_image_beside_its_input(varsr: Run, nano: Path, photo: Path) -> None:
    result = varsr("upscale", photo, "--model", nano)
    assert result.returncode == 0, result.stderr
    target = photo.with_name("photo_x4.jpg")
    assert result.stdout == f"{target}\n"
    with Image.open(target) as image:
        assert (image.format, image.size) == ("JPEG", (160, 120))
        assert image.layer[0][1:3] == (1, 1)  # type: ignore[attr-defined]  # 4:4:4


def test_named_output_and_fractional_scale(varsr: Run, nano: Path, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "large.webp"
    result = varsr("upscale", photo, "-o", target, "--scale", "2.5", "-m", nano, "--quiet")
    assert (result.returncode, result.stderr, result.stdout) == (0, "", f"{target}\n")
    with Image.open(target) as image:
        assert (image.format, image.size) == ("WEBP", (100, 75))


def test_every_option_is_accepted(varsr: Run, nano: Path, photo: Path) -> None:
    options = (
        "--scale 2 --cfg 3.5 --fidelity 0.5 --seed 4 --top-k 5 --top-p 0.9 --temperature 0.8 --no-corrector "
        "--color-fix wavelet --tile-overlap 1 --batch-size 2 --device cpu --dtype fp32 "
        "--speed fast --keep-ratio 0.5 --guided-tokens 0.5 --guided-scales 2 --corrector-steps 3"
    )
    assert varsr("upscale", photo, "-m", nano, *options.split()).returncode == 0


def test_the_model_can_come_from_the_environment(varsr: Run, nano: Path, photo: Path) -> None:
    assert varsr("upscale", photo, VARSR_MODEL=str(nano)).returncode == 0


def test_a_model_in_a_folder(varsr: Run, nano: Path, photo: Path) -> None:
    assert varsr("upscale", photo, "-m", nano.parent).returncode == 0


def test_an_existing_output_is_left_alone(varsr: Run, nano: Path, photo: Path) -> None:
    target = photo.with_name("photo_x4.jpg")
    target.write_bytes(b"precious")
    complains(varsr("upscale", photo, "-m", nano), 5, "exists already")
    assert target.read_bytes() == b"precious"
    assert varsr("upscale", photo, "-m", nano, "--overwrite").returncode == 0
    assert target.read_bytes() != b"precious"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere.jpg"], 4, "does not exist"),
        (["broken.jpg"], 4, "is a text file"),
        (["photo.jpg", "-m", "nonesuch"], 3, "No model is called 'nonesuch'"),
        (["photo.jpg", "-m", "nonesuch.safetensors"], 3, "nonesuch.safetensors does not exist"),
        (["photo.jpg", "-m", "photo.jpg"], 3, "not a readable safetensors"),
        (["photo.jpg", "-m", "."], 3, "0 safetensors files"),
        (["photo.jpg", "-o", "no/such/folder.png"], 5, "does not exist"),
        (["photo.jpg", "-o", "out.xyz"], 2, "has no suffix of an output format"),
        (["photo.jpg", "--scale", "9"], 2, "cannot be scaled"),
        (["photo.jpg", "--device", "tpu"], 2, "tpu"),
        (["clear.png", "-o", "out.jpg"], 2, "transparency"),
    ],
)
def test_what_cannot_be_done(
    varsr: Run, nano: Path, photo: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"broken")
    Image.new("RGBA", (8, 8)).save(tmp_path / "clear.png")
    before = sorted(tmp_path.iterdir())
    complains(varsr("upscale", *arguments, VARSR_MODEL=str(nano)), code, words)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_no_cuda(varsr: Run, nano: Path, photo: Path) -> None:
    complains(varsr("upscale", photo, "-m", nano, "--device", "cuda"), 6, "No CUDA device")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder where even root cannot write")
def test_a_folder_that_cannot_be_written_is_found_before_the_work(varsr: Run, photo: Path) -> None:
    complains(varsr("upscale", photo, "-o", "/proc/self/out.png", "-m", "not even looked at"), 5, "cannot be written")


def test_too_little_memory(environment: dict[str, str], nano: Path, photo: Path) -> None:
    """The address space is limited to what the program holds before the image, and little more."""
    limited = (
        "import resource, sys\n"
        "import varsr.cli.app, varsr.upscaling.upscaler, varsr.images.read, varsr.images.write\n"
        "held = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + (150 << 20),) * 2)\n"
        "varsr.cli.app.main()\n"
    )
    large = photo.with_name("large.png")
    Image.new("RGB", (4000, 4000)).save(large)
    result = subprocess.run(
        [sys.executable, "-c", limited, "upscale", str(large), "--scale", "1", "-m", str(nano)],
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    complains(result, 7, "too little memory")


@pytest.mark.parametrize(
    ("own", "shown"),
    [
        ({}, "GOMP_SPINCOUNT = '10000'"),
        ({"GOMP_SPINCOUNT": "7"}, "GOMP_SPINCOUNT = '7'"),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, "GOMP_SPINCOUNT = '0'"),
    ],
)
def test_threads_that_wait_soon_leave_the_cores_to_others(
    varsr: Run, nano: Path, photo: Path, own: dict[str, str], shown: str
) -> None:
    settings = varsr("upscale", photo, "-m", nano, OMP_DISPLAY_ENV="verbose", **own).stderr
    if "GOMP_SPINCOUNT" not in settings:
        pytest.skip("needs GNU OpenMP")
    assert shown in settings


def test_a_traceback_only_for_debugging(varsr: Run) -> None:
    assert "Traceback" not in varsr("upscale", "nowhere.jpg").stderr
    for arguments in (("upscale", "nowhere.jpg", "--debug"), ("--debug", "upscale", "nowhere.jpg")):
        result = varsr(*arguments)
        assert result.returncode == 4
        assert "Traceback" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
@pytest.mark.parametrize("encoding", ["utf-8:strict", "latin-1", "cp1252", "ascii"])
def test_names_are_printed_as_they_are(
    environment: dict[str, str], nano: Path, photo: Path, tmp_path: Path, encoding: str
) -> None:
    names = [b"caf\xe9.jpg", "\u65e5\u672c.jpg".encode()]
    for name in names:
        shutil.copy(photo, tmp_path / os.fsdecode(name))
    result = subprocess.run(
        [sys.executable, "-m", "varsr", "upscale", *names, "-m", nano, "-d", tmp_path / "large"],
        env=environment | {"PYTHONIOENCODING": encoding},
        cwd=tmp_path,
        capture_output=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    printed = [os.path.basename(line) for line in result.stdout.splitlines()]  # noqa: PTH119, a path of bytes
    assert printed == [name.replace(b".jpg", b"_x4.jpg") for name in names]


def test_interrupted_before_it_has_begun(varsr: Run, tmp_path: Path) -> None:
    """While its libraries are being read: one of them is put in their place that interrupts."""
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    result = varsr("upscale", "photo.jpg", PYTHONPATH=str(tmp_path / "early"))
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="its shell cannot close a stream")
@pytest.mark.parametrize(
    ("closed", "arguments", "code", "printed"),
    [
        ("2>&-", ["photo.jpg"], 0, "photo_x4.jpg\n"),
        ("2>&-", ["nothing.jpg"], 4, ""),
        (">&-", ["photo.jpg"], 0, ""),
        ("<&- >&- 2>&-", ["photo.jpg"], 0, ""),
        ("<&-", ["-", "-o", "photo_x4.jpg"], 4, ""),
    ],
)
def test_a_closed_stream_takes_nothing_and_harms_nothing(
    environment: dict[str, str], nano: Path, photo: Path, closed: str, arguments: list[str], code: int, printed: str
) -> None:
    """Nothing of it ends in the other stream or in the result."""
    command = [
        "sh",
        "-c",
        f'"$@" {closed}',
        "sh",
        sys.executable,
        "-m",
        "varsr",
        "upscale",
        *arguments,
        "-m",
        str(nano),
    ]
    result = subprocess.run(command, env=environment, cwd=photo.parent, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout) == (code, printed)
    if code == 0:
        with Image.open(photo.with_name("photo_x4.jpg")) as image:
            image.load()


@pytest.mark.parametrize(
    "arguments", [["upscale"], ["upscale", "a.jpg", "--nonsense"], ["nonsense"], ["upscale", "a.jpg", "--top-p", "2"]]
)
def test_a_wrong_command_line(varsr: Run, arguments: list[str]) -> None:
    result = varsr(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_work_leaves_nothing(
    environment: dict[str, str], tiny: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    source = tmp_path / "in.jpg"
    source.write_bytes((DATA / "dandelion.jpg").read_bytes())
    process = subprocess.Popen(
        [sys.executable, "-m", "varsr", "upscale", str(source), "--scale", "8", "-m", str(tiny)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    maps = Path(f"/proc/{process.pid}/maps")
    deadline = time.monotonic() + 60
    while str(tiny) not in maps.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)  # until the model is loaded
    time.sleep(1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == [source]


def test_help_and_version_are_quick_and_free_of_heavy_imports(environment: dict[str, str]) -> None:
    probe = (
        "import sys; from varsr.cli.app import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'PIL', 'huggingface_hub', 'safetensors'} & set(sys.modules)))\n"
    )
    for arguments in (["--help"], ["--version"], ["upscale", "--help"], ["models", "--help"]):
        result = subprocess.run(
            [sys.executable, "-c", probe, *arguments], env=environment, capture_output=True, text=True, check=True
        )
        assert result.stdout.splitlines()[-1] == "[]"


def test_help_names_every_exit_code(varsr: Run) -> None:
    from varsr.errors import VarsrError

    text = varsr("--help").stdout
    for kind in VarsrError.__subclasses__():
        assert f"{kind.exit_code} " in text


def test_version(varsr: Run) -> None:
    import varsr as package

    assert varsr("--version").stdout == f"varsr {package.__version__}\n"


def test_without_a_command_the_help_is_shown(varsr: Run) -> None:
    assert "upscale" in varsr().stdout + varsr().stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_the_shell(environment: dict[str, str], shell: str) -> None:
    program = Path(sys.executable).with_name("varsr")
    named = environment | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = subprocess.run(
        [program, "--show-completion", shell], env=named, capture_output=True, text=True, timeout=60, check=False
    )
    assert script.returncode == 0, script.stderr
    assert "_VARSR_COMPLETE" in script.stdout


def test_completion_offers_options(environment: dict[str, str]) -> None:
    asked = environment | {"_VARSR_COMPLETE": "complete_bash", "COMP_WORDS": "varsr upscale --pre", "COMP_CWORD": "2"}
    program = Path(sys.executable).with_name("varsr")
    offered = subprocess.run([program], env=asked, capture_output=True, text=True, timeout=60, check=False)
    assert "--preserve-times" in offered.stdout
