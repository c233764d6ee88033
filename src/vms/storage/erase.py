"""Deletes recordings: the files first, then the row, so that nothing on disk is ever forgotten (design/storage.md)."""

import contextlib
import re
from pathlib import Path

from vms.format import layout
from vms.format.files import storage_errors, sync_directory
from vms.storage.checksums import checksum_path, drop_checksum


def delete_recording(media_path: Path, *, today: str) -> None:
    """Delete a recording and what belongs to it, durably; what is missing already is no error.

    The directory of a day goes with its last file; today's stays, since a recorder may be about to write there.
    Raises VmsError(STORAGE).
    """
    directory = media_path.parent
    with storage_errors(media_path):
        if not directory.is_dir():
            return
        media_path.unlink(missing_ok=True)
        layout.index_path(media_path).unlink(missing_ok=True)
        hour = media_path.stem.split("_")[1]
        same_hour = re.compile(rf"video_{re.escape(hour)}[_.].*(mp4|mkv)$")
        if any(same_hour.match(path.name) for path in directory.iterdir()):
            drop_checksum(media_path)
        else:
            (directory / f"thumb_{hour}.webp").unlink(missing_ok=True)
            checksum_path(media_path).unlink(missing_ok=True)
        sync_directory(directory)
        if directory.name < today:
            with contextlib.suppress(OSError):  # not empty: something is left that is not ours to delete
                directory.rmdir()
                sync_directory(directory.parent)
