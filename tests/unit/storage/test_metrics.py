import re
from pathlib import Path

import pytest
from tests.support.recordings import fragment
from tests.support.storage import storage_app

from vms.common.errors import ErrorKind, VmsError


async def test_what_the_service_did_is_counted(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        await app.record([fragment(0), fragment(1)])
        text = (await app.client.get("/metrics")).text
        assert "vms_storage_announcements_total 2.0" in text
        size = next(app.root.glob("cameras/*/*/video*")).stat().st_size
        found = re.search(r'vms_storage_recordings_bytes\{volume="main"\} ([\d.e+]+)', text)
        assert found is not None
        assert float(found[1]) == size
        assert re.search(r"vms_storage_catalogue_lag_seconds 58\.0", text)


async def test_a_database_that_is_away_takes_its_figures_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise VmsError(ErrorKind.UNAVAILABLE, "locked")

    async with storage_app(tmp_path) as app:
        monkeypatch.setattr(app.storage.repository, "totals", away)
        reply = await app.client.get("/metrics")
        assert reply.status_code == 200
        assert "vms_storage_recordings{" not in reply.text
        assert "vms_storage_deletions_total" in reply.text
