from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varsr.errors import InputError, OutputError, RequestError
from varsr.images.size import TargetSize
from varsr.jobs import plan as planning
from varsr.jobs.hash_set import HashSet
from varsr.jobs.lists import names_in
from varsr.jobs.naming import Naming, format_named
from varsr.jobs.plan import Job, Plan, Shard, listed
from varsr.jobs.plan import given as arguments
from varsr.storage.streams import STREAM

VALUES = {"size": "x4", "scale": "4", "model": "mini"}
stems = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda s: not s.startswith(".") and s.strip() not in (".", "..")
)


def plan(inputs: list[Path], recursive: bool, naming: Naming, values: dict[str, str]) -> Plan:
    return Plan(arguments(inputs), recursive, naming, values)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@given(stems, st.sampled_from([".jpg", ".JPG", ".png", ".heic", ".tiff", ".xyz", ""]))
def test_a_default_name_is_new_and_writable(stem: str, suffix: str) -> None:
    source = Path("/photos") / f"{stem}{suffix}"
    target = Naming().target(source, source.parent, VALUES)
    assert target.parent == source.parent
    assert target != source
    assert "_x4" in target.name
    assert target.suffix.lower() in (".jpg", ".png", ".heic", ".tiff")


@pytest.mark.parametrize(
    ("naming", "expected"),
    [
        (Naming(), "/p/a/b_x4.jpeg"),
        (Naming(template="{stem}_x{scale}{ext}"), "/p/a/b_x4.jpeg"),
        (Naming(folder=Path("/out")), "/out/a/b_x4.jpeg"),
        (Naming(format=format_named("png")), "/p/a/b_x4.png"),
        (Naming(format=format_named("jpg")), "/p/a/b_x4.jpeg"),
        (Naming(template="{model}-{stem}"), "/p/a/mini-b.jpeg"),
    ],
)
def test_names(naming: Naming, expected: str) -> None:
    assert naming.target(Path("/p/a/b.jpeg"), Path("/p"), VALUES) == Path(expected)


@pytest.mark.parametrize("template", ["{nonsense}", "{", "", "a/{stem}", "../{stem}", "{stem.x}", "{0}"])
def test_templates_that_cannot_be(template: str) -> None:
    with pytest.raises(RequestError):
        Naming(template=template)


def test_folders_files_and_their_order(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a.png", "notes.txt", ".hidden.jpg", "deep/c.webp", ".git/d.jpg")
    touch(tmp_path, "@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg", "deep/#recycle/e.jpg", "$RECYCLE.BIN/f.jpg")
    found = [job.source.name for job in plan([tmp_path], False, Naming(), VALUES)]
    assert found == ["a.png", "b.jpg"]
    found = [job.source.name for job in plan([tmp_path], True, Naming(), VALUES)]
    assert found == ["a.png", "b.jpg", "c.webp"]


def test_patterns_that_no_shell_expanded(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a.jpg", "c.png", "[odd].jpg")
    found = list(plan([tmp_path / "*.jpg"], False, Naming(), VALUES))
    assert [job.source.name for job in found] == ["[odd].jpg", "a.jpg", "b.jpg"]
    assert [job.source.name for job in plan([tmp_path / "[odd].jpg"], False, Naming(), VALUES)] == ["[odd].jpg"]
    assert [job.source.name for job in plan([tmp_path / "*.gif"], False, Naming(), VALUES)] == ["*.gif"]


def test_a_tree_is_kept_under_the_output_folder(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.jpg", "deep/er/a.jpg")
    jobs = list(plan([tmp_path / "in"], True, Naming(folder=tmp_path / "out"), VALUES))
    assert [str(job.target_file.relative_to(tmp_path)) for job in jobs] == ["out/a_x4.jpg", "out/deep/er/a_x4.jpg"]


@pytest.mark.parametrize("label", ["x4", "x2", "x2.5", "w800", "h600", "l1200", "12mp", "0.3mp"])
@pytest.mark.parametrize("template", ["{stem}_{size}{ext}", "{size} {stem}{ext}", "{stem}-{model}-{size}{ext}"])
def test_results_of_an_earlier_run_are_no_inputs(tmp_path: Path, label: str, template: str) -> None:
    naming = Naming(template=template)
    sources = ["a.jpg", "b.jpg", "c3.jpg", "x9.jpg"]
    touch(tmp_path, *sources)
    touch(tmp_path, *(job.target.name for job in plan([tmp_path], False, naming, VALUES | {"size": label})))
    planned = plan([tmp_path], False, naming, VALUES)
    assert [job.source.name for job in planned] == sources
    assert planned.results == len(sources)
    for source in sources:  # also where the inputs are gone or have become another format
        (tmp_path / source).unlink()
    with pytest.raises(InputError, match="no input"):
        plan([tmp_path], False, naming, VALUES)


def test_in_place_every_file_is_an_input(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b_x4.jpg")
    jobs = list(plan([tmp_path], False, Naming("{stem}{ext}"), VALUES))
    assert [(job.source, job.found) for job in jobs] == [(job.target, True) for job in jobs]
    assert [job.source.name for job in jobs] == ["a.jpg", "b_x4.jpg"]


def test_a_result_named_itself_is_an_input(tmp_path: Path) -> None:
    touch(tmp_path, "a_x4.jpg")
    (job,) = plan([tmp_path / "a_x4.jpg"], False, Naming(), VALUES)
    assert not job.found


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_a_folder_is_no_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "b.jpg")
    assert [job.source.name for job in plan([tmp_path], False, Naming(), VALUES)] == ["a.jpg"]


def test_an_input_named_twice_is_done_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    assert len(list(plan([tmp_path / "a.jpg", tmp_path, tmp_path / "." / "a.jpg"], False, Naming(), VALUES))) == 1


def test_two_inputs_for_one_output_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.png")
    with pytest.raises(OutputError, match=r"a\.jpg and .*a\.png would both write"):
        plan([tmp_path], False, Naming(format=format_named("webp")), VALUES)
    naming = Naming("{stem}-{source_ext}_{size}{ext}", format=format_named("webp"))
    targets = [job.target.name for job in plan([tmp_path], False, naming, VALUES)]
    assert targets == ["a-jpg_x4.webp", "a-png_x4.webp"]


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    touch(tmp_path, "deep/a.jpg")
    (tmp_path / "deep/loop").symlink_to(tmp_path, target_is_directory=True)
    assert len(list(plan([tmp_path], True, Naming(), VALUES))) == 1


def test_a_folder_without_images(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt", "deep/b.jpg")
    with pytest.raises(InputError, match="no images"):
        plan([tmp_path], False, Naming(), VALUES)


def test_the_stream_needs_a_place(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="Standard input"):
        plan([STREAM], False, Naming(), VALUES)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \n.jpg")
    touch(tmp_path, name)
    (job,) = plan([tmp_path], False, Naming(), VALUES)
    assert os.fsencode(job.target.name) == b"caf\xe9 \n_x4.jpg"


@given(st.integers(0, 100), st.integers(1, 12))
def test_shards_share_all_jobs_without_overlap(total: int, count: int) -> None:
    jobs = [Job(Path(str(i)), Path(f"{i}.out")) for i in range(total)]
    parts = [list(Shard(number, count).of(jobs)) for number in range(1, count + 1)]
    assert [len(part) for part in parts] == [Shard(number, count).size(total) for number in range(1, count + 1)]
    assert sorted(int(str(job.source)) for part in parts for job in part) == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "-1/2", "1/0"])
def test_shards_that_cannot_be(text: str) -> None:
    with pytest.raises(RequestError, match="not a shard"):
        Shard.parse(text)


@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(1, 8))
def test_a_scale_is_kept_to_the_pixel(height: int, width: int, scale: float) -> None:
    assert TargetSize(scale=scale).of((height, width)) == (round(height * scale), round(width * scale))


@pytest.mark.parametrize(
    ("target", "expected", "label"),
    [
        (TargetSize(scale=2.5), (250, 500), "x2.5"),
        (TargetSize(width=600), (300, 600), "w600"),
        (TargetSize(height=300), (300, 600), "h300"),
        (TargetSize(longest=600), (300, 600), "l600"),
        (TargetSize(megapixels=0.18), (300, 600), "0.18mp"),
    ],
)
def test_ways_to_say_how_large(target: TargetSize, expected: tuple[int, int], label: str) -> None:
    assert target.of((100, 200)) == expected
    assert target.label == label


def test_sizes_that_cannot_be() -> None:
    for target in (TargetSize(width=100), TargetSize(width=2000), TargetSize(scale=float("nan"))):
        with pytest.raises(RequestError, match="cannot be scaled"):
            target.of((100, 200))
    with pytest.raises(RequestError, match="more than once"):
        TargetSize(scale=2, width=100)


def test_a_list_is_data(tmp_path: Path) -> None:
    """Patterns in it are names, blank lines are nothing, and bytes that are no text arrive whole."""
    names = tmp_path / "names"
    names.write_bytes(b"*.jpg\n\ncaf\xe9.png\r\nlast")
    assert [os.fsencode(str(path)) for path in names_in(names, by_nul=False)] == [b"*.jpg", b"caf\xe9.png", b"last"]
    names.write_bytes(b"a\nb.jpg\0c.jpg\0")
    assert [str(path) for path in names_in(names, by_nul=True)] == ["a\nb.jpg", "c.jpg"]
    with pytest.raises(InputError, match="cannot be read"):
        list(names_in(tmp_path / "missing", by_nul=False))


def test_lists_of_windows_programs(tmp_path: Path) -> None:
    """A byte-order mark is none of the first name; UTF-16 is refused. Long lists are read in blocks."""
    names = tmp_path / "names"
    names.write_text("a.jpg\r\nb.jpg\r\n", encoding="utf-8-sig", newline="")
    assert [str(path) for path in names_in(names, by_nul=False)] == ["a.jpg", "b.jpg"]
    names.write_text("", encoding="utf-8-sig")
    assert list(names_in(names, by_nul=False)) == []
    names.write_text("a.jpg\n", encoding="utf-16")
    with pytest.raises(InputError, match="UTF-16"):
        list(names_in(names, by_nul=False))
    expected = [f"{number:07}.jpg" for number in range(20_000)]
    names.write_text("\n".join(expected), encoding="utf-8-sig")
    assert [str(path) for path in names_in(names, by_nul=False)] == expected


def test_a_base_keeps_the_tree_of_a_list(tmp_path: Path) -> None:
    names = [tmp_path / "in" / "a.jpg", tmp_path / "in" / "deep" / "a.jpg", Path("/elsewhere/b.jpg")]
    first, second, outside = Plan(listed(names, tmp_path / "in"), False, Naming(folder=tmp_path / "out"), VALUES)
    assert first.target == tmp_path / "out" / "a_x4.jpg"
    assert second.target == tmp_path / "out" / "deep" / "a_x4.jpg"
    assert "is not below" in str(outside.problem)


def test_long_plans_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what is checked beforehand, a name that is taken is a problem of the later job alone."""
    monkeypatch.setattr(planning, "CHECKED", 3)
    asked = []

    def names() -> Iterator[Path]:
        for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "a.png", "e.jpg"):
            asked.append(name)
            yield tmp_path / name

    planned = Plan(listed(names()), False, Naming(folder=tmp_path / "out", format=format_named("webp")), VALUES)
    assert planned.total is None
    assert asked == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    problems = {job.source.name: job.problem for job in planned}
    assert [name for name, problem in problems.items() if problem] == ["a.png"]
    assert "once more" in str(problems["a.png"])


def test_hashes_tell_many_names_apart() -> None:
    known = HashSet()
    names = [f"folder/{number:07}.jpg" for number in range(100_000)]
    assert all(known.add(name) for name in names)
    assert not any(known.add(name) for name in names[::7])
    assert len(known) == len(names)
