"""Cameras as configured: the truth that KV ``vms_cameras`` projects."""

from sqlalchemy import JSON, BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from vms.db.models.base import Base


class Camera(Base):
    """One camera. Written by the API only.

    ``settings`` holds the rest of a CameraConfig as JSON, so that an option of a newer version survives an older one.
    The recordings of a camera that was removed stay until retention takes them, so no other table refers to this one.
    """

    __tablename__ = "cameras"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    url: Mapped[str] = mapped_column(String(2048))
    username: Mapped[str] = mapped_column(String(256))
    password: Mapped[str] = mapped_column(String(256))
    settings: Mapped[dict[str, object]] = mapped_column(JSON)
    created_us: Mapped[int] = mapped_column(BigInteger)
    updated_us: Mapped[int] = mapped_column(BigInteger)
