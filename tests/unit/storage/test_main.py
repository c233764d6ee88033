from pathlib import Path

import pytest
from tests.support.storage import storage_app

from vms.common.errors import ErrorKind, VmsError
from vms.storage.config import StorageSettings


async def test_another_address_than_loopback_is_refused_unless_asked_for_by_name(tmp_path: Path) -> None:
    with pytest.raises(VmsError, match=r"storage\.allow_insecure_network") as caught:
        async with storage_app(tmp_path / "a", StorageSettings(host="192.0.2.7")):
            pass
    assert caught.value.kind is ErrorKind.INVALID
    async with storage_app(tmp_path / "b", StorageSettings(host="192.0.2.7", allow_insecure_network=True)) as app:
        assert (await app.client.get("/health", headers={"Host": "192.0.2.7:9092"})).status_code == 200
        page = {"Origin": "http://192.0.2.7:9095"}
        reply = await app.client.get("/health", headers=page)
        assert reply.headers["access-control-allow-origin"] == page["Origin"]


async def test_errors_are_problem_documents_here_too(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        for method, path, status in (
            ("GET", "/nothing", 404),
            ("POST", "/health", 405),
            ("GET", "/recordings/a b", 422),
        ):
            reply = await app.client.request(method, path)
            assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json")


async def test_threads_end_with_the_service(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        thread = app.storage.checksums._thread
        assert thread.is_alive()
    assert not thread.is_alive()
