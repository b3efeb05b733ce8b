"""All of a video but its images is kept: packets of other streams, times, and what is said of the frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip("av", reason="needs PyAV: pip install varsr[video]")

from tests.video.clips import (  # noqa: E402
    Make,
    images_of,
    interlaced_frames,
    moving,
    packets_of,
    planes_of,
    times_of,
    with_cut,
    write_with_cover,
)
from varsr import Upscaler, VideoOptions, upscale_file  # noqa: E402
from varsr.errors import InputError, OutputError, RequestError  # noqa: E402
from varsr.jobs.outcome import Outcome  # noqa: E402
from varsr.video.clip import read_clip  # noqa: E402

FRAMES = 30
IRREGULAR = tuple(1000 + 512 * n + 55 * (n % 7) + 5000 * (n > 22) for n in range(FRAMES))
MASTER = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"


@pytest.fixture(scope="module")
def upscaler(identity: Path) -> Upscaler:
    return Upscaler.from_pretrained(str(identity), device="cpu", dtype="fp32")


def upscale(source: Path, target: Path, upscaler: Upscaler, video: VideoOptions = VideoOptions()) -> Outcome:
    return upscale_file(source, target, upscaler, scale=1, video=video)


def test_sound_subtitles_and_chapters_of_mp4(tmp_path: Path, upscaler: Upscaler) -> None:
    make = Make(lambda: moving(FRAMES), audio=True, subtitles="mov_text", chapters=True)
    source, target = make.write(tmp_path / "a.mp4"), tmp_path / "b.mp4"
    outcome = upscale(source, target, upscaler)
    assert outcome.frames == len(times_of(target)) == FRAMES
    assert times_of(target) == times_of(source)
    assert len(packets_of(source, "audio")) > 50
    for kind in ("audio", "subtitle"):
        assert packets_of(target, kind) == packets_of(source, kind)
    with av.open(str(source)) as before, av.open(str(target)) as after:
        chapters = [
            [(part["start"] * (part["time_base"] or 1), part["metadata"]) for part in one.chapters()]
            for one in (before, after)
        ]
        assert chapters[0] == chapters[1]
        assert len(chapters[1]) == 2
        assert after.metadata["title"] == "A test"
        assert after.streams.video[0].metadata["language"] == "fra"
    assert not list(tmp_path.glob(".*"))  # the folder of segments is gone


def test_b_frames_subtitles_and_an_attachment_of_matroska(tmp_path: Path, upscaler: Upscaler) -> None:
    make = Make(
        lambda: moving(FRAMES),
        audio=True,
        subtitles="subrip",
        chapters=True,
        attachment=b"hello",
        options=(("crf", "20"), ("bf", "3"), ("b_strategy", "0")),
    )
    source, target = make.write(tmp_path / "a.mkv"), tmp_path / "b.mkv"
    upscale(source, target, upscaler)
    assert times_of(target) == times_of(source)
    for kind in ("audio", "subtitle"):
        assert packets_of(target, kind) == packets_of(source, kind)
    with av.open(str(target)) as after:
        (attachment,) = [stream for stream in after.streams if stream.type == "attachment"]
        assert isinstance(attachment, av.stream.AttachmentStream)
        assert (attachment.data, attachment.mimetype) == (b"hello", "text/plain")
        assert len(after.chapters()) == 2


@pytest.mark.parametrize(("suffix", "off"), [(".mp4", 0), (".mov", 0), (".mkv", Fraction(1, 1000))])
def test_a_variable_frame_rate(tmp_path: Path, upscaler: Upscaler, suffix: str, off: Fraction) -> None:
    source = Make(lambda: moving(FRAMES), ticks=IRREGULAR, audio=True).write(tmp_path / "a.mp4")
    target = tmp_path / f"b{suffix}"
    upscale(source, target, upscaler)
    before, after = times_of(source), times_of(target)
    assert len(before) == len(after) == FRAMES
    assert all(abs(one - other) <= off for one, other in zip(before, after, strict=True))
    sounds = packets_of(source, "audio"), packets_of(target, "audio")
    assert [data for *_, data in sounds[0]] == [data for *_, data in sounds[1]]
    assert all(abs((one[0] or 0) - (other[0] or 0)) <= 1_000_000 * off for one, other in zip(*sounds, strict=True))


def test_rotation_and_the_shape_of_pixels(tmp_path: Path, upscaler: Upscaler) -> None:
    source = Make(lambda: moving(6), rotation=90, aspect=Fraction(4, 3)).write(tmp_path / "a.mov")
    upscale(source, tmp_path / "b.mov", upscaler)
    before, after = read_clip(source).signal, read_clip(tmp_path / "b.mov").signal
    assert before.display_matrix[1] != 0
    assert after == before
    assert after.aspect == Fraction(4, 3)


def test_a_height_is_that_of_the_video_as_it_is_shown(tmp_path: Path, upscaler: Upscaler) -> None:
    source = Make(lambda: moving(2), rotation=90).write(tmp_path / "a.mp4")  # 64 px wide, shown 64 px high
    outcome = upscale_file(source, tmp_path / "b.mp4", upscaler, height=96)
    assert outcome.target_size == (72, 96)
    upscale_file(source, tmp_path / "frames", upscaler, height=96)
    with Image.open(tmp_path / "frames/a_000001.png") as image:
        shown = np.asarray(image).astype(int)
    upright = np.rot90(images_of(tmp_path / "b.mp4")[0]).astype(int)
    assert shown.shape == upright.shape == (96, 72, 3)
    assert np.abs(shown - upright).mean() < 3


def test_ten_bits_of_hdr(tmp_path: Path, upscaler: Upscaler) -> None:
    make = Make(
        lambda: moving(6),
        codec="libx265",
        format="yuv420p10le",
        options=(("x265-params", f"log-level=none:{MASTER}"),),
        colors=(9, 16, 9, 1),
    )
    source = make.write(tmp_path / "a.mkv")
    upscale(source, tmp_path / "b.mkv", upscaler)
    before, after = read_clip(source).signal, read_clip(tmp_path / "b.mkv").signal
    assert before.mastering.levels == (1000, 400)
    assert before.colors.is_hdr
    assert after == before
    assert after.depth == 10


def test_interlaced_frames_are_deinterlaced(tmp_path: Path, upscaler: Upscaler) -> None:
    make = Make(lambda: moving(12), interlaced=True, options=(("crf", "12"), ("flags", "+ildct+ilme")))
    source, target = make.write(tmp_path / "a.mkv"), tmp_path / "b.mkv"
    outcome = upscale(source, target, upscaler)
    assert "deinterlaced" in " ".join(outcome.notes)
    assert times_of(target) == times_of(source)
    assert (interlaced_frames(source), interlaced_frames(target)) == (12, 0)


def test_odd_sides_become_even(tmp_path: Path, upscaler: Upscaler) -> None:
    source = Make(lambda: moving(3, 51, 75), codec="ffv1", format="yuv444p", options=()).write(tmp_path / "a.mkv")
    for suffix, size in ((".mkv", (51, 75)), (".mp4", (51, 75))):  # 4:4:4 has no need
        assert upscale(source, tmp_path / f"b{suffix}", upscaler).target_size == size
    grey = Make(lambda: moving(3, 51, 75), codec="ffv1", format="yuv420p", options=()).write(tmp_path / "c.mkv")
    assert upscale(grey, tmp_path / "d.mp4", upscaler).target_size == (52, 76)
    assert images_of(tmp_path / "d.mp4")[0].shape == (52, 76, 3)


def test_a_video_smaller_than_a_block(tmp_path: Path, upscaler: Upscaler) -> None:
    source = Make(lambda: [image[:4, :6] for image in moving(3)], codec="ffv1", options=()).write(tmp_path / "a.mkv")
    assert upscale_file(source, tmp_path / "b.mkv", upscaler).target_size == (16, 24)


@pytest.mark.parametrize("matrix", [None, 1, 5, 9])
def test_colours_of_a_chart(tmp_path: Path, upscaler: Upscaler, matrix: int | None) -> None:
    """Luma and chroma of large fields, compared as the decoder gives them, without any conversion to RGB."""
    rng = np.random.default_rng(0)
    chart = np.kron(rng.integers(20, 236, (3, 4, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    colors = None if matrix is None else (matrix, {1: 1, 5: 6, 9: 14}[matrix], matrix, 1)
    make = Make(lambda: [chart] * 3, codec="ffv1", options=(), colors=colors)
    source, target = make.write(tmp_path / "a.mkv"), tmp_path / "b.mkv"
    upscale(source, target, upscaler, VideoOptions(crf=0, codec="h264"))
    for before, after in zip(planes_of(source), planes_of(target), strict=True):
        step = 16 * before.shape[1] // 64
        middles = (slice(step // 2, None, step), slice(step // 2, None, step))
        assert np.abs(before[middles].astype(int) - after[middles]).max() <= 2
    signal = read_clip(target).signal.colors
    assert (signal.matrix, signal.full_range) == (6 if matrix is None else matrix, False)


def test_a_cut_and_frames_that_have_not_changed(tmp_path: Path, upscaler: Upscaler) -> None:
    source = Make(lambda: with_cut(8)).write(tmp_path / "a.mp4")
    outcome = upscale(source, tmp_path / "b.mkv", upscaler, VideoOptions(codec="ffv1"))
    again = upscale(source, tmp_path / "c.mkv", upscaler, VideoOptions(codec="ffv1", reuse=False))
    assert "8 frames" in outcome.notes[0]
    assert "1 scene cut" in outcome.notes[0]
    assert outcome.tiles * 3 <= again.tiles
    for one, other in zip(images_of(tmp_path / "b.mkv"), images_of(tmp_path / "c.mkv"), strict=True):
        assert np.abs(one.astype(int) - other).mean() < 1


@pytest.mark.parametrize(("places", "count"), [((12, 25), 2), ((15, 20), None)])
def test_damaged_packets_are_concealed_and_named(
    tmp_path: Path, upscaler: Upscaler, places: tuple[int, ...], count: int | None
) -> None:
    """The second time with a keyframe, without which the decoder keeps frames back."""
    source = Make(lambda: moving(FRAMES), options=(("crf", "18"), ("g", "10"))).write(tmp_path / "a.mp4")
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        for packet in (packets[place] for place in places):
            assert packet.pos is not None
            for place in range(packet.pos, packet.pos + packet.size):
                data[place] = 37 * place % 251
    source.write_bytes(bytes(data))
    outcome = upscale(source, tmp_path / "b.mp4", upscaler)
    assert outcome.frames == len(times_of(tmp_path / "b.mp4")) == FRAMES
    assert times_of(tmp_path / "b.mp4")[1:3] == [Fraction(1, 25), Fraction(2, 25)]
    (note,) = [note for note in outcome.notes if "damaged frames were concealed, at 0:0" in note]
    assert count is None or note.startswith(f"{count} ")


def test_a_file_that_ends_early(tmp_path: Path, upscaler: Upscaler) -> None:
    source = Make(lambda: moving(FRAMES), options=(("crf", "18"), ("g", "5"))).write(tmp_path / "a.mkv")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    outcome = upscale(source, tmp_path / "b.mkv", upscaler)
    assert 0 < outcome.frames < FRAMES
    assert any("ends early" in note for note in outcome.notes)


def test_a_part(tmp_path: Path, upscaler: Upscaler) -> None:
    make = Make(lambda: moving(FRAMES), audio=True, options=(("crf", "12"), ("g", "10")))
    source = make.write(tmp_path / "a.mp4")
    outcome = upscale(source, tmp_path / "b.mp4", upscaler, VideoOptions(start=0.4, duration=0.6))
    before, after = times_of(source), times_of(tmp_path / "b.mp4")
    assert outcome.frames == 15
    assert [time + Fraction(2, 5) for time in after] == before[10:25]
    first, sounds = packets_of(tmp_path / "b.mp4", "audio")[0], packets_of(source, "audio")
    (like,) = [packet for packet in sounds if packet[2] == first[2]]
    assert abs((like[0] or 0) - 400_000 - (first[0] or 0)) <= 1


@pytest.mark.parametrize(("name", "result"), [("a.mp4", "b.mp4"), ("a.mp4", "b.mkv"), ("a.mkv", "b.mkv")])
def test_a_cover(tmp_path: Path, upscaler: Upscaler, name: str, result: str) -> None:
    cover = write_with_cover(tmp_path / name)
    upscale(tmp_path / name, tmp_path / result, upscaler)
    with av.open(str(tmp_path / result)) as container:
        (stream,) = [one for one in container.streams.video if one.disposition & 1024]
        assert [bytes(packet) for packet in container.demux(stream) if packet.size] == [cover]
    assert len(times_of(tmp_path / result)) == 3


@pytest.mark.parametrize("name", ["a.mov", "a.mp4", "a.mkv"])
def test_a_timecode(tmp_path: Path, upscaler: Upscaler, name: str) -> None:
    with av.open(str(tmp_path / "in.mov"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = 64, 48
        stream.metadata["timecode"] = "01:00:00:00"
        for image in moving(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode(None))
    outcome = upscale(tmp_path / "in.mov", tmp_path / name, upscaler)
    assert len(outcome.notes) == 1
    with av.open(str(tmp_path / name)) as container:
        metadata = {key.lower(): value for key, value in container.streams.video[0].metadata.items()}
        assert metadata["timecode"] == "01:00:00:00"


def test_data_of_a_transport_stream(tmp_path: Path, upscaler: Upscaler) -> None:
    """No container that is written holds it, and its own is not written: it is left out, and named."""
    with av.open(str(tmp_path / "a.ts"), "w") as container:
        stream, data = container.add_stream("libx264", rate=25), container.add_data_stream("klv")
        stream.width, stream.height = 64, 48
        for number, image in enumerate(moving(3)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
            packet = av.Packet(b"data")
            packet.stream, packet.time_base = data, Fraction(1, 90000)
            packet.pts = packet.dts = 3600 * number
            container.mux(packet)
        container.mux(stream.encode(None))
    outcome = upscale(tmp_path / "a.ts", tmp_path / "b.mkv", upscaler)
    assert outcome.frames == 3
    assert any("data stream 1 (klv) is not kept" in note for note in outcome.notes)


def test_a_container_that_cannot_hold_a_stream(tmp_path: Path, upscaler: Upscaler) -> None:
    source = Make(lambda: moving(3), subtitles="subrip").write(tmp_path / "a.mkv")
    with pytest.raises(OutputError, match=r"MP4 cannot hold subtitle stream 1 \(subrip\)") as caught:
        upscale(source, tmp_path / "b.mp4", upscaler)
    assert ".mkv" in caught.value.advice
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv"]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("b.mp4", VideoOptions(codec="ffv1"), "does not hold ffv1"),
        ("b.webm", VideoOptions(codec="h264"), "does not hold h264"),
        ("b.mkv", VideoOptions(codec="ffv1", crf=3), "no constant rate factor"),
        ("b.mkv", VideoOptions(codec="h264", crf=60), "cannot be 60"),
        ("b.mkv", VideoOptions(codec="av1", preset="slow"), "cannot be slow"),
        ("b.avi", VideoOptions(), "no suffix of a video that can be written"),
        ("b.mkv", VideoOptions(start=99), "holds no frame"),
    ],
)
def test_options_that_do_not_go_together(
    tmp_path: Path, upscaler: Upscaler, name: str, options: VideoOptions, words: str
) -> None:
    source = Make(lambda: moving(3)).write(tmp_path / "a.mkv")
    with pytest.raises(RequestError, match=words):
        upscale(source, tmp_path / name, upscaler, options)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


@pytest.mark.parametrize(
    ("name", "codec", "format"),
    [
        ("b.mp4", "h265", "yuv420p"),
        ("b.webm", None, "yuv420p"),
        ("b.mkv", "ffv1", "yuv420p"),
        ("b.mov", "prores", "yuv422p10le"),
    ],
)
def test_codecs(tmp_path: Path, upscaler: Upscaler, name: str, codec: str | None, format: str) -> None:
    source = Make(lambda: moving(6, 64, 64)).write(tmp_path / "a.mp4")
    upscale(source, tmp_path / name, upscaler, VideoOptions(codec=codec))  # type: ignore[arg-type]
    assert times_of(tmp_path / name) == times_of(source)
    with av.open(str(tmp_path / name)) as container:
        assert container.streams.video[0].pix_fmt == format
        if codec == "h265":
            assert container.streams.video[0].codec_tag == "hvc1"
    before, after = images_of(source), images_of(tmp_path / name)
    assert max(np.abs(one.astype(int) - other).mean() for one, other in zip(before, after, strict=True)) < 4


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXTINF:1,\n{there}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile '{there}'\n"]
)
def test_a_playlist_is_not_followed(tmp_path: Path, upscaler: Upscaler, text: str) -> None:
    there = Make(lambda: moving(2)).write(tmp_path / "there.mp4")
    (tmp_path / "a.mp4").write_text(text.format(there=there))
    with pytest.raises(InputError, match="cannot be read as a video"):
        upscale(tmp_path / "a.mp4", tmp_path / "b.mp4", upscaler)


def test_what_is_not_a_video(tmp_path: Path, upscaler: Upscaler) -> None:
    (tmp_path / "a.mp4").write_bytes(b"not a video at all" * 99)
    with pytest.raises(InputError, match="cannot be read as a video"):
        upscale(tmp_path / "a.mp4", tmp_path / "b.mp4", upscaler)
    with av.open(str(tmp_path / "c.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        frame.sample_rate = 48000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(InputError, match="holds no video"):
        upscale(tmp_path / "c.mp4", tmp_path / "b.mp4", upscaler)
