"""Small videos, each with something that has to be kept."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray
from PIL import Image

TICK = Fraction(1, 12800)
CHAPTERS = ((0, 400, "First"), (400, 1000, "Second"))
SUBTITLES = ((100, 300, "One line"), (400, 500, "Another"))
AUDIO_RATE = 48000
Pixels = NDArray[np.uint8]


def moving(count: int, height: int = 48, width: int = 64) -> Iterator[Pixels]:
    """A square that moves over a gradient."""
    rows, columns = np.mgrid[:height, :width]
    for number in range(count):
        image = np.stack([rows * 4, columns * 3, np.full_like(rows, 90)], -1).astype(np.uint8)
        image[10:22, 4 + number % 40 : 16 + number % 40] = (230, 60, 20)
        yield image


def with_cut(count: int, height: int = 48, width: int = 64) -> Iterator[Pixels]:
    """Two scenes, each of the same image."""
    first = next(moving(1, height, width))
    for number in range(count):
        yield first if number < count // 2 else 255 - first[::-1]


def still(count: int, height: int = 96, width: int = 128, seed: int = 0) -> Iterator[Pixels]:
    """A still scene with a small thing that moves in a corner, and a sensor's noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    scene = 120 + 60 * np.sin(rows / 5) * np.cos(columns / 7) + 20 * ((rows // 8 + columns // 8) % 2)
    for number in range(count):
        image = np.repeat(scene[..., None], 3, -1) + rng.normal(0, 1.0, (height, width, 3))
        image[2:10, 2 + number % 12 : 10 + number % 12] = (220, 40, 40)
        yield image.clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Make:
    """A video to write. `ticks` are the times of its frames in TICK; None is 25 frames a second."""

    frames: Callable[[], Iterable[Pixels]]
    codec: str = "libx264"
    format: str = "yuv420p"
    ticks: tuple[int, ...] | None = None
    audio: bool = False
    subtitles: str | None = None
    chapters: bool = False
    attachment: bytes | None = None
    rotation: int = 0
    aspect: Fraction | None = None
    options: tuple[tuple[str, str], ...] = (("crf", "12"),)
    colors: tuple[int, int, int, int] | None = None
    interlaced: bool = False

    def write(self, path: Path) -> Path:
        """Write it to a file, whose suffix chooses the container."""
        images = list(self.frames())
        ticks = self.ticks or tuple(512 * number for number in range(len(images)))
        with av.open(str(path), "w") as container:
            container.metadata["title"] = "A test"
            stream: Any = container.add_stream(self.codec, rate=25, options=dict(self.options))
            stream.height, stream.width = images[0].shape[:2]
            stream.pix_fmt, stream.codec_context.time_base, stream.time_base = self.format, TICK, TICK
            stream.metadata["language"] = "fra"
            if self.colors:
                context = stream.codec_context
                context.color_primaries, context.color_trc, context.colorspace, context.color_range = self.colors
            if self.aspect:
                stream.codec_context.sample_aspect_ratio = self.aspect
            if self.rotation:
                stream.set_display_rotation(self.rotation)
            others = [*self._audio(container), *self._subtitles(container)]
            if self.attachment is not None:
                container.add_attachment("notes.txt", "text/plain", self.attachment)
            if self.chapters:
                container.set_chapters(
                    [
                        {
                            "id": number,
                            "start": start,
                            "end": end,
                            "time_base": Fraction(1, 1000),
                            "metadata": {"title": name},
                        }
                        for number, (start, end, name) in enumerate(CHAPTERS)
                    ]
                )
            for image, tick in zip(images, ticks, strict=True):
                frame = av.VideoFrame.from_ndarray(image).reformat(
                    format=self.format, src_color_range=2, dst_color_range=1, dst_colorspace=5
                )
                frame.pts, frame.time_base = tick, TICK
                if self.interlaced:
                    frame = _interlaced(frame)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
            for packets in others:
                container.mux(packets)
        return path

    def _audio(self, container: Any) -> Iterator[list[Any]]:
        if not self.audio:
            return
        stream = container.add_stream("aac", rate=AUDIO_RATE)
        seconds = len(list(self.frames())) / 25
        tone = np.sin(np.arange(int(AUDIO_RATE * seconds)) * 0.05).astype(np.float32)[None].repeat(2, 0) * 0.3
        packets = []
        for start in range(0, tone.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone[:, start : start + 1024]), "fltp", "stereo")
            frame.sample_rate, frame.pts = AUDIO_RATE, start
            packets += stream.encode(frame)
        yield packets + stream.encode(None)

    def _subtitles(self, container: Any) -> Iterator[list[Any]]:
        if self.subtitles is None:
            return
        text = "\n".join(f"{n}\n{_clock(a)} --> {_clock(b)}\n{line}\n" for n, (a, b, line) in enumerate(SUBTITLES, 1))
        source = av.open(io.BytesIO(text.encode()), "r", format="srt")
        if self.subtitles == "subrip":
            stream = container.add_stream_from_template(source.streams[0], opaque=True)
            packets = [packet for packet in source.demux() if packet.size]
            for packet in packets:
                packet.stream = stream
            yield packets
            return
        stream = container.add_stream(self.subtitles)
        stream.codec_context.subtitle_header = b"[Script Info]\n"
        packets = []
        for start, end, line in SUBTITLES:
            packet = av.Packet(len(line).to_bytes(2, "big") + line.encode())
            packet.pts = packet.dts = start
            packet.duration, packet.time_base, packet.stream = end - start, Fraction(1, 1000), stream
            packets.append(packet)
        yield packets


def _clock(milliseconds: int) -> str:
    return f"00:00:{milliseconds // 1000:02},{milliseconds % 1000:03}"


def _interlaced(frame: Any) -> Any:
    """The same frame, said to be interlaced."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format.name, time_base=TICK)
    field, sink = graph.add("setfield", "tff"), graph.add("buffersink")
    source.link_to(field)
    field.link_to(sink)
    graph.configure()
    graph.vpush(frame)
    return graph.vpull()


def packets_of(path: Path, kind: str) -> list[tuple[int | None, int | None, bytes]]:
    """Times in microseconds and bytes of the packets of the streams of a kind."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        return [
            (_microseconds(packet.pts, packet), _microseconds(packet.dts, packet), bytes(packet))
            for packet in container.demux(streams)
            if packet.size
        ]


def _microseconds(time: int | None, packet: Any) -> int | None:
    return None if time is None else round(time * packet.time_base * 1_000_000)


def times_of(path: Path) -> list[Fraction]:
    """The times of the frames of a video in seconds."""
    with av.open(str(path)) as container:
        frames: Any = container.decode(video=0)
        return [frame.pts * frame.time_base for frame in frames]


def images_of(path: Path) -> list[Pixels]:
    """The frames of a video, by FFmpeg's own conversion."""
    with av.open(str(path)) as container:
        frames: Any = container.decode(video=0)
        return [frame.to_ndarray(format="rgb24") for frame in frames]


def planes_of(path: Path) -> list[Pixels]:
    """Luma and both chroma planes of the first frame, as they are coded."""
    with av.open(str(path)) as container:
        frame: Any = next(container.decode(video=0))
        return [
            np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, -1)[:, : plane.width] for plane in frame.planes
        ]


def interlaced_frames(path: Path) -> int:
    """The number of frames that are marked as interlaced."""
    with av.open(str(path)) as container:
        frames: Any = container.decode(video=0)
        return sum(frame.interlaced_frame for frame in frames)


def write_with_cover(path: Path) -> bytes:
    """Write a video of 3 frames with a cover; return the cover."""
    file = io.BytesIO()
    Image.fromarray(next(moving(1))).save(file, "JPEG")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = 64, 48
        cover: Any = None
        if path.suffix == ".mkv":
            container.add_attachment("cover.jpg", "image/jpeg", file.getvalue())
        else:
            cover = container.add_mux_stream("mjpeg", width=64, height=48)
            cover.disposition, cover.time_base = Disposition.attached_pic, Fraction(1, 90000)
            packet = av.Packet(file.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = cover, 0, 0, Fraction(1, 90000)
            container.mux(packet)
        for image in moving(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode(None))
    return file.getvalue()
