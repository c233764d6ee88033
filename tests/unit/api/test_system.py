from pathlib import Path

from tests.support.http import api_app

import vms


async def test_a_client_learns_the_version_and_where_storage_is(tmp_path: Path) -> None:
    async with api_app(tmp_path) as api:
        system = (await api.client.get("/api/v1/system")).json()
        assert system == {"version": vms.__version__, "storage_url": "http://localhost:9092"}


async def test_health_is_never_cached(tmp_path: Path) -> None:
    async with api_app(tmp_path) as api:
        assert (await api.client.get("/health")).headers["cache-control"] == "no-store"
