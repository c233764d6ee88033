"""The one owner of PyAV: demux foreign files, encode generated pictures, decode for analysis and tests.

PyAV's types and errors stay inside. Payloads leave as access units with 4-byte NAL lengths, whatever the file holds.
"""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import av
import av.error
import av.logging
from av.container import InputContainer
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.stream import VideoStream

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec, VideoParameters
from vms.common.types import FrameRate
from vms.media.extradata import header_nals, length_size, parameters_of, with_four_byte_lengths
from vms.media.nal import annex_b_to_lengths, split_lengths

_CODEC_NAMES: Final = {"h264": VideoCodec.H264, "hevc": VideoCodec.H265}
_AV_NAMES: Final = {codec: name for name, codec in _CODEC_NAMES.items()}

# libav writes to stderr by itself; what it has to say comes as an exception where it matters.
av.logging.set_level(None)


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """One access unit as a file or an encoder gives it, times in units of the owner's ``time_base``."""

    pts: int
    duration: int  # 0 when not stated
    keyframe: bool
    payload: bytes  # NAL units behind 4-byte lengths


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded picture: 8-bit luma rows, ``stride`` bytes apart; ``pts`` is what the access unit was given."""

    width: int
    height: int
    stride: int
    luma: bytes
    pts: int


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """How to encode generated pictures with x264.

    ``bitrate_bps`` is kept over any second by VBV; ``gop`` is the keyframe distance in frames.
    """

    width: int
    height: int
    frame_rate: FrameRate
    bitrate_bps: int
    gop: int
    preset: str = "ultrafast"


@dataclass(frozen=True, slots=True)
class VideoFile:
    """The first H.264 or H.265 stream of a media file, as `open_video` found it. Holds no open file."""

    path: Path
    codec: VideoCodec
    time_base: Fraction  # seconds per unit of the pictures' times
    extradata: bytes
    stream_index: int

    def parameters(self) -> VideoParameters:
        """Codec parameters from the header, or else from the first access unit. Raises VmsError(UNSUPPORTED)."""
        nals = header_nals(self.codec, self.extradata)
        if not nals:
            with closing(self.access_units()) as units:
                first = next(units, None)
            nals = list(split_lengths(first.payload)) if first else []
        return parameters_of(self.codec, nals)

    def access_units(self) -> Generator[CodedPicture]:
        """All access units in decoding order, from the start of the file, bitstream untouched.

        Raises VmsError: UNSUPPORTED where a picture has no timestamp, CORRUPT where the file is damaged.
        """
        size = length_size(self.codec, self.extradata)
        with _opened(self.path) as container:
            for packet in container.demux(container.streams[self.stream_index]):
                if not packet.size:
                    continue
                if packet.pts is None:
                    raise VmsError(
                        ErrorKind.UNSUPPORTED,
                        f"{self.path} has no timestamps: wrap it first, "
                        f"ffmpeg -r 25 -i {self.path.name} -c copy clip.mp4",
                    )
                payload = with_four_byte_lengths(bytes(packet), size)
                yield CodedPicture(packet.pts, packet.duration or 0, packet.is_keyframe, payload)


def open_video(path: Path) -> VideoFile:
    """Find the video of a media file.

    Raises VmsError: NOT_FOUND, CORRUPT (not a media file), UNSUPPORTED (no H.264 or H.265 in it), STORAGE.
    """
    with _opened(path) as container:
        for stream in container.streams.video:
            context = stream.codec_context
            if context.name in _CODEC_NAMES:
                codec, time_base = _CODEC_NAMES[context.name], stream.time_base or Fraction(1, 90_000)
                return VideoFile(path, codec, Fraction(time_base), context.extradata or b"", stream.index)
    raise VmsError(ErrorKind.UNSUPPORTED, f"{path} holds no H.264 or H.265 video")


def demux_access_units(path: Path) -> Iterator[CodedPicture]:
    """The access units of a file without its parameters; errors as `open_video` and `VideoFile.access_units`."""
    return open_video(path).access_units()


class Encoder:
    """x264 for generated pictures, no frame of delay. Used from one thread at a time.

    Every keyframe carries its parameter sets, as a camera's does.
    """

    def __init__(self, settings: EncoderSettings) -> None:
        self.settings = settings
        self.time_base = Fraction(settings.frame_rate.denominator, settings.frame_rate.numerator)
        self._context: VideoCodecContext | None = None
        self._frame: VideoFrame | None = None

    def encode(self, y: bytes | bytearray, u: bytes | bytearray, v: bytes | bytearray, pts: int) -> list[CodedPicture]:
        """Encode one 4:2:0 picture (planes without padding); usually one access unit comes back.

        ``pts`` counts frame intervals. Raises VmsError(INVALID) when x264 refuses the settings.
        """
        try:
            if self._context is None or self._frame is None:
                self._context = _open_x264(self.settings)
                self._frame = VideoFrame(self.settings.width, self.settings.height, "yuv420p")
            _fill(self._frame, y, u, v)
            self._frame.pts = pts
            self._frame.time_base = self.time_base
            return [_coded(packet) for packet in self._context.encode(self._frame)]
        except (av.error.FFmpegError, ValueError) as error:
            raise _encoder_error(self.settings, error) from None

    def flush(self) -> list[CodedPicture]:
        """What the encoder still holds; it cannot be used afterwards."""
        return [_coded(packet) for packet in self._context.encode(None)] if self._context is not None else []


class Mp4Encoder:
    """Encodes generated pictures into an MP4 file: ``with Mp4Encoder(path, settings) as clip: clip.add(…)``.

    Raises VmsError(STORAGE) where the file cannot be written, INVALID when x264 refuses the settings.
    """

    def __init__(self, path: Path, settings: EncoderSettings) -> None:
        self.path = path
        self.settings = settings
        self.payload_bytes = 0
        self._frames = 0

    def __enter__(self) -> Self:
        settings = self.settings
        try:
            self._container = av.open(str(self.path), "w", format="mp4")
            rate = Fraction(settings.frame_rate.numerator, settings.frame_rate.denominator)
            self._stream = self._container.add_stream("libx264", rate=rate)
            _configure(self._stream.codec_context, settings)
            self._frame = VideoFrame(settings.width, settings.height, "yuv420p")
        except av.error.FFmpegError as error:
            raise VmsError(ErrorKind.STORAGE, f"{self.path} cannot be written: {error.strerror}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._frames:
                self._write(None)
        finally:
            self._container.close()

    def add(self, y: bytes | bytearray, u: bytes | bytearray, v: bytes | bytearray) -> None:
        """Encode the next 4:2:0 picture (planes without padding)."""
        _fill(self._frame, y, u, v)
        self._frame.pts = self._frames
        self._frame.time_base = Fraction(self.settings.frame_rate.denominator, self.settings.frame_rate.numerator)
        self._write(self._frame)
        self._frames += 1

    def _write(self, frame: VideoFrame | None) -> None:
        try:
            for packet in self._stream.encode(frame):
                self.payload_bytes += packet.size
                self._container.mux(packet)
        except OSError as error:
            raise VmsError(ErrorKind.STORAGE, f"{self.path} cannot be written: {error.strerror}") from None
        except (av.error.FFmpegError, ValueError) as error:
            raise _encoder_error(self.settings, error) from None


class Decoder:
    """Decodes access units of one stream, in decoding order. Used from one thread at a time."""

    def __init__(self, parameters: VideoParameters) -> None:
        self.parameters = parameters
        self._context: VideoCodecContext | None = None

    def decode(self, payload: bytes, pts: int) -> list[Picture]:
        """Feed one access unit; pictures come back in output order, later than their access unit where it reorders.

        Raises VmsError(CORRUPT) when the decoder refuses the bytes; it can go on with the next keyframe.
        """
        if self._context is None:
            context = VideoCodecContext.create(_AV_NAMES[self.parameters.codec], "r")
            assert isinstance(context, VideoCodecContext)
            context.extradata = self.parameters.codec_private
            context.thread_count = 1  # frame threads would hold pictures back
            self._context = context
        packet = av.Packet(payload)
        packet.pts = packet.dts = pts
        return self._decoded(packet)

    def flush(self) -> list[Picture]:
        """The pictures that are still inside, at the end of the stream."""
        return self._decoded(None) if self._context is not None else []

    def _decoded(self, packet: "av.Packet[Stream] | None") -> list[Picture]:
        assert self._context is not None
        try:
            frames = self._context.decode(packet)
        except av.error.FFmpegError as error:
            raise VmsError(ErrorKind.CORRUPT, f"an access unit cannot be decoded: {error.strerror}") from None
        return [
            Picture(frame.width, frame.height, frame.planes[0].line_size, bytes(frame.planes[0]), frame.pts or 0)
            for frame in frames
        ]


def _open_x264(settings: EncoderSettings) -> VideoCodecContext:
    context = VideoCodecContext.create("libx264", "w")
    assert isinstance(context, VideoCodecContext)
    _configure(context, settings)
    context.time_base = Fraction(settings.frame_rate.denominator, settings.frame_rate.numerator)
    context.framerate = Fraction(settings.frame_rate.numerator, settings.frame_rate.denominator)
    return context


def _configure(context: VideoCodecContext, settings: EncoderSettings) -> None:
    context.width, context.height, context.pix_fmt = settings.width, settings.height, "yuv420p"
    context.bit_rate = settings.bitrate_bps
    context.gop_size = settings.gop
    context.thread_count = 1  # a picture takes milliseconds; threads would only add switches
    kilobits = max(1, settings.bitrate_bps // 1000)
    context.options = {
        "preset": settings.preset,
        "tune": "zerolatency",
        "x264-params": f"scenecut=0:keyint={settings.gop}:min-keyint={settings.gop}"
        f":vbv-maxrate={kilobits}:vbv-bufsize={kilobits}",
    }


def _fill(frame: VideoFrame, y: bytes | bytearray, u: bytes | bytearray, v: bytes | bytearray) -> None:
    for plane, data, shift in zip(frame.planes, (y, u, v), (0, 1, 1), strict=True):
        _fill_plane(plane, data, frame.width >> shift)


def _fill_plane(plane: VideoPlane, data: bytes | bytearray, width: int) -> None:
    stride = plane.line_size
    if stride == width:
        plane.update(bytes(data))
        return
    target = memoryview(plane)
    for row in range(len(data) // width):
        target[row * stride : row * stride + width] = data[row * width : (row + 1) * width]


def _coded(packet: "av.Packet[VideoStream]") -> CodedPicture:
    return CodedPicture(packet.pts or 0, 1, packet.is_keyframe, annex_b_to_lengths(bytes(packet)))


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    try:
        with av.open(str(path), "r") as container:
            yield container
    except av.error.FFmpegError as error:
        raise _file_error(path, error) from None


def _file_error(path: Path, error: "av.error.FFmpegError") -> VmsError:
    if isinstance(error, FileNotFoundError):
        return VmsError(ErrorKind.NOT_FOUND, f"there is no file {path}")
    if isinstance(error, PermissionError | IsADirectoryError):
        return VmsError(ErrorKind.STORAGE, f"{path} cannot be read: {error.strerror}")
    return VmsError(ErrorKind.CORRUPT, f"{path} is not a media file, or it is damaged: {error.strerror}")


def _encoder_error(settings: EncoderSettings, error: Exception) -> VmsError:
    return VmsError(
        ErrorKind.INVALID,
        f"x264 does not encode {settings.width}x{settings.height} at {settings.frame_rate.fps:g} frames/s"
        f" and {settings.bitrate_bps} bit/s: {error}",
    )
