"""Segments joined with all other streams of the input, whose packets are copied as they are."""

from __future__ import annotations

import heapq
import io
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
from av.container.input import InputContainer
from av.container.output import OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Disposition, Stream
from av.video.stream import VideoStream

from varsr.errors import OutputError
from varsr.storage.local import replacing
from varsr.video.clip import UPRIGHT, Clip, main_stream, opened
from varsr.video.encode import VideoEncoding, add_encoder, unwritable
from varsr.video.formats import CONTAINERS
from varsr.video.segments import Segment, SegmentStore

_OF_THE_FILE = frozenset(("encoder", "major_brand", "minor_version", "compatible_brands", "duration"))
"""Metadata that a muxer writes by itself."""
_QUICKTIME = ("mp4", "mov")
_FINEST = 10_000_000
"""Units a second of a whole MP4 file, beyond which those of the video have to do."""
Timed: TypeAlias = "tuple[Fraction, int, Packet[Any]]"
"""A packet with its time in seconds, by which packets of several streams are merged, and its stream's place."""


def streams_left_out(target: Path, clip: Clip | None, encoding: VideoEncoding) -> tuple[str, ...]:
    """Streams of a clip that its own container holds but FFmpeg does not write, a phrase for each.

    Raises `OutputError` where the container of `target` cannot hold the video or another stream that it is given.
    """
    container = CONTAINERS[target.suffix.lower()]
    _try_encoder(target, container, encoding)
    if clip is None:
        return ()
    own = CONTAINERS.get(clip.path.suffix.lower())
    with opened(clip.path) as source:
        refused = [stream for stream in _others(source, clip) if not _can_hold(container, stream)]
        words = [_words(stream) for stream in refused if own or stream.type != "data"]
        left_out = tuple(f"{_words(stream)} is not kept: FFmpeg does not write it" for stream in refused)
    if words and own != container:
        raise OutputError(
            f"{target}: {target.suffix[1:].upper()} cannot hold {' and '.join(words)} of the input.",
            f"Name a file of the input's own kind, {clip.path.suffix}, or .mkv." if own else "Convert it first.",
        )
    return left_out


def join(
    target: Path,
    store: SegmentStore,
    segments: Sequence[Segment],
    encoding: VideoEncoding,
    clip: Clip | None,
    time_base: Fraction,
) -> None:
    """Write a result, whole or not at all, of its segments and, of a clip, its other streams, chapters and metadata.

    Times are in `time_base`. Raises `OutputError` where it cannot be written.
    """
    container = CONTAINERS[target.suffix.lower()]
    try:
        with (
            replacing(target) as temporary,
            av.open(str(temporary), "w", format=container, options=_muxing(container, clip, time_base)) as result,
            av.open(str(store.file(segments[0].number))) as first,
        ):
            video = _add_video(result, first.streams.video[0], encoding, time_base)
            frames = _video_packets(video, store, segments, encoding, time_base)
            if clip is None:
                _mux(result, frames)
                return
            with opened(clip.path) as source:
                _describe(result, video, source, clip, encoding)
                copies = {stream.index: _copy(result, stream, clip) for stream in _kept(source, clip, container)}
                others = _copied_packets(source, copies, encoding)
                _mux(result, heapq.merge(frames, others, key=lambda timed: timed[:2]))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise unwritable(target, error) from error


def _muxing(container: str, clip: Clip | None, time_base: Fraction) -> dict[str, str]:
    """Options of the muxer by which times stay as they are: no shift, and offsets of streams in their own units."""
    if container not in _QUICKTIME:
        return {"avoid_negative_ts": "disabled"}
    units = [time_base.denominator]
    if clip is not None:
        with opened(clip.path) as source:
            units += [stream.time_base.denominator for stream in source.streams.audio if stream.time_base]
    finest = math.lcm(*units)
    finest = finest if finest <= _FINEST else time_base.denominator
    return {"movflags": "+faststart", "movie_timescale": str(finest)}


def _mux(result: OutputContainer, packets: Iterator[Timed]) -> None:
    for _, _, packet in packets:
        result.mux_one(packet)


def _add_video(
    result: OutputContainer, template: VideoStream, encoding: VideoEncoding, time_base: Fraction
) -> VideoStream:
    stream = result.add_stream_from_template(template, opaque=True)
    stream.time_base = time_base
    if encoding.signal.display_matrix != UPRIGHT:
        stream.set_display_matrix(encoding.signal.display_matrix)
    if encoding.codec.tag and result.format.name in _QUICKTIME:
        stream.codec_context.codec_tag = encoding.codec.tag
    return stream


def _video_packets(
    stream: VideoStream, store: SegmentStore, segments: Sequence[Segment], encoding: VideoEncoding, time_base: Fraction
) -> Iterator[Timed]:
    """The packets of all segments with the times of their frames.

    A packet is decoded as long before its frame is shown as the longest wait of all takes, so that decoding times rise
    across segments whatever the intervals of frames.
    """
    begin = round(Fraction(encoding.options.start).limit_denominator(10**6) / time_base)
    times = [time - begin for segment in segments for time in segment.times]
    delay, step = max(segment.delay for segment in segments), max(1, round(1 / (encoding.rate * time_base)))
    first, count = 0, 0
    for segment in segments:
        with av.open(str(store.file(segment.number))) as container:
            for packet in container.demux(video=0):
                if packet.size == 0:  # the end
                    continue
                assert packet.pts is not None
                place = first + round(packet.pts * packet.time_base * encoding.rate)
                following = times[place + 1] if place + 1 < len(times) else times[place] + step
                packet.pts, packet.duration = times[place], following - times[place]
                packet.dts = times[count - delay] if count >= delay else times[0] - (delay - count) * step
                packet.time_base, packet.stream = time_base, stream
                count += 1
                yield packet.dts * time_base, -1, packet
        first += len(segment.times)


def _describe(
    result: OutputContainer, video: VideoStream, source: InputContainer, clip: Clip, encoding: VideoEncoding
) -> None:
    """Metadata and chapters, and what is said of the video stream."""
    original = main_stream(source, clip.path)
    result.metadata.update(_kept_metadata(source.metadata))
    video.metadata.update(_kept_metadata(original.metadata))
    video.disposition = original.disposition
    chapters = source.chapters()
    begin = Fraction(encoding.options.start).limit_denominator(10**6)
    for chapter in chapters:
        tick = chapter["time_base"] or Fraction(1, 1000)
        chapter["start"] = max(0, chapter["start"] - round(begin / tick))
        chapter["end"] = max(chapter["start"], chapter["end"] - round(begin / tick))
    if chapters:
        result.set_chapters([chapter for chapter in chapters if chapter["end"] > chapter["start"]])


def _kept_metadata(metadata: dict[str, str]) -> dict[str, str]:
    return {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _OF_THE_FILE and not key.startswith(("BPS", "NUMBER_OF_", "DURATION", "_STATISTICS_"))
    }


def _others(source: InputContainer, clip: Clip) -> list[Stream]:
    """All streams but the one that is upscaled, and those that a muxer makes of other data.

    These are the tracks of MP4 with the titles of chapters, and with the timecode that stands in the metadata.
    """
    video, chapters = main_stream(source, clip.path), len(source.chapters())

    def is_made(stream: Stream) -> bool:
        is_of_chapters = chapters and stream.name == "bin_data" and stream.frames == chapters
        return stream.type == "data" and bool(is_of_chapters or "timecode" in stream.metadata)

    return [stream for stream in source.streams if stream.index != video.index and not is_made(stream)]


def _kept(source: InputContainer, clip: Clip, container: str) -> list[Stream]:
    return [stream for stream in _others(source, clip) if _can_hold(container, stream)]


def _copy(result: OutputContainer, stream: Stream, clip: Clip) -> Stream:
    """A stream of the result for the packets of one of the source. A cover is an attachment of Matroska."""
    if _is_cover(stream) and result.format.name == "matroska":
        kind = {"png": "png"}.get(stream.name or "", "jpeg")
        return result.add_attachment(f"cover.{kind.replace('jpeg', 'jpg')}", f"image/{kind}", _first(stream, clip))
    if isinstance(stream, AttachmentStream):
        name = stream.metadata.get("filename", f"attachment-{stream.index}")
        return result.add_attachment(name, stream.mimetype or "application/octet-stream", stream.data)
    copy = result.add_stream_from_template(stream, opaque=True)
    copy.metadata.update(_kept_metadata(stream.metadata))
    copy.disposition = stream.disposition
    return copy


def _is_cover(stream: Stream) -> bool:
    return Disposition.attached_pic in stream.disposition


def _first(stream: Stream, clip: Clip) -> bytes:
    """The first packet of a stream."""
    with opened(clip.path) as source:
        return next((bytes(packet) for packet in source.demux(source.streams[stream.index]) if packet.size), b"")


def _copied_packets(source: InputContainer, copies: dict[int, Stream], encoding: VideoEncoding) -> Iterator[Timed]:
    """The packets of the other streams, from the start on that is asked for, as long as is asked for."""
    options = encoding.options
    begin = Fraction(options.start).limit_denominator(10**6)
    end = begin + Fraction(options.duration).limit_denominator(10**6) if options.duration is not None else None
    kept = [
        stream
        for stream in source.streams
        if stream.index in copies and not isinstance(copies[stream.index], AttachmentStream)
    ]
    time = Fraction(0)
    for packet in source.demux(kept) if kept else ():
        if packet.size == 0 and packet.pts is None:  # the end of a stream
            continue
        shown = packet.pts if packet.pts is not None else packet.dts
        if shown is not None and (options.start and shown * packet.time_base < begin):
            continue
        if shown is not None and end is not None and shown * packet.time_base >= end:
            continue
        stamp = packet.dts if packet.dts is not None else packet.pts
        time = max(time, stamp * packet.time_base - begin) if stamp is not None else time
        yield time, packet.stream_index, _moved(packet, copies[packet.stream_index], begin)


def _moved(packet: Packet[Any], stream: Stream, begin: Fraction) -> Packet[Any]:
    """A packet for a stream of the result, `begin` seconds earlier."""
    back = round(begin / packet.time_base)
    if back:
        packet.pts = packet.pts - back if packet.pts is not None else None
        packet.dts = packet.dts - back if packet.dts is not None else None
    packet.stream = stream
    return packet


def _try_encoder(target: Path, container: str, encoding: VideoEncoding) -> None:
    """Raise `OutputError` where the container cannot hold the codec as it is set up."""
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            add_encoder(trial, encoding)
            trial.start_encoding()
    except (av.FFmpegError, ValueError) as error:
        height, width = encoding.size
        raise OutputError(
            f"{target}: {encoding.codec.name} cannot be written with {width} x {height} pixels "
            f"({encoding.pixel_format}).",
            "Choose another `video_codec`, or a smaller size.",
        ) from error


def _can_hold(container: str, stream: Stream) -> bool:
    """True where FFmpeg writes the header of such a container with this stream alone."""
    if isinstance(stream, AttachmentStream) or (_is_cover(stream) and container == "matroska"):
        return container == "matroska"
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _words(stream: Stream) -> str:
    codec = stream.codec_context.codec.canonical_name if stream.codec_context else stream.name
    return f"{stream.type} stream {stream.index} ({codec or 'unknown'})"
