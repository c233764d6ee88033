"""The catalogue of recordings: media files, and the time that is not in any of them."""

from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from vms.db.models.base import Base


class SegmentState(StrEnum):
    """Whether the recorder may still append to a file."""

    OPEN = "open"
    CLOSED = "closed"


class Segment(Base):
    """One media file. Written by storage only; there is no row before the file has bytes (design/storage.md).

    ``path`` is relative to the root of ``volume``. ``start_us`` and ``end_us`` are wall time; the file covers
    ``[start_us, end_us)``. ``codec_string`` is its RFC 6381 name. There is no foreign key to cameras: recordings of a
    camera that was removed, or that another site wrote, are kept and played all the same.
    """

    __tablename__ = "segments"
    __table_args__ = (
        UniqueConstraint("volume", "path"),
        CheckConstraint("state IN ('open', 'closed')", name="state"),
        Index(None, "camera_id", "start_us"),
        Index(None, "volume", "state", "end_us"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    camera_id: Mapped[str] = mapped_column(String(64))
    volume: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(512))
    container: Mapped[str] = mapped_column(String(8))
    codec: Mapped[str] = mapped_column(String(16))
    codec_string: Mapped[str] = mapped_column(String(64))
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    start_us: Mapped[int] = mapped_column(BigInteger)
    end_us: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
    frames: Mapped[int] = mapped_column(BigInteger)
    fragments: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(8))
    created_us: Mapped[int] = mapped_column(BigInteger)


class Gap(Base):
    """A span of a camera's time that is not on disk, and why. Written by storage only."""

    __tablename__ = "gaps"
    __table_args__ = (UniqueConstraint("camera_id", "start_us", "cause"), Index(None, "camera_id", "end_us"))

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    camera_id: Mapped[str] = mapped_column(String(64))
    start_us: Mapped[int] = mapped_column(BigInteger)
    end_us: Mapped[int] = mapped_column(BigInteger)
    cause: Mapped[str] = mapped_column(String(32))
    detail: Mapped[str] = mapped_column(String(500))
