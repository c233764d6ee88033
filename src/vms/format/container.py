"""What a container format must do, and the two that do it. Everything here is bytes in, bytes out."""

from collections.abc import Sequence
from typing import Final, Protocol

from vms.common.stream import Container
from vms.format import fmp4, mkv
from vms.format.facts import FileFacts, FileHeader, Patch
from vms.format.files import Read
from vms.format.model import Buffer, IndexRecord, Sample, SampleTable


class Format(Protocol):
    """One container. Implemented by the modules ``fmp4`` and ``mkv``."""

    SIGNATURE: bytes
    """Bytes that every fragment has at ``SIGNATURE_AT`` from its start."""
    SIGNATURE_AT: int

    def room_bytes(self, rotation_s: int) -> int:
        """Bytes to reserve for the seek table of a file that covers so many seconds."""
        ...

    def file_header(self, facts: FileFacts, start_us: int) -> bytes:
        """All that comes before the first fragment, in the state of an open file."""
        ...

    def read_header(self, read: Read) -> FileHeader:
        """Parse the start of a file. Raises VmsError(CORRUPT) when it is not a recording of ours."""
        ...

    def fragment_buffers(
        self, table: SampleTable, *, sequence: int, media_start_90k: int, wall_us: int, flags: int
    ) -> tuple[list[Buffer], int]:
        """A fragment as buffers to write in order, and their total size; payloads are not copied."""
        ...

    def read_fragment(self, read: Read, offset: int, limit: int) -> tuple[IndexRecord, list[Sample]]:
        """The whole fragment at ``offset`` that ends at or before ``limit``. Raises VmsError(CORRUPT)."""
        ...

    def closing(self, header: FileHeader, records: Sequence[IndexRecord], first_pts_90k: int) -> list[Patch]:
        """Writes that put the seek table in place; the first must be durable before the others make it visible."""
        ...

    def reopening(self, header: FileHeader) -> list[Patch]:
        """Writes that take the seek table away again, so that the file may grow."""
        ...


FORMATS: Final[dict[Container, Format]] = {Container.MP4: fmp4, Container.MKV: mkv}
