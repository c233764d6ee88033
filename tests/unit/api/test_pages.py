import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.http import Api, api_app

from vms.api import pages
from vms.api.config import ApiSettings

STATIC = Path(pages.__file__).parent / "static"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_app(tmp_path) as made:
        yield made


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_comes_with_all_it_needs_and_nothing_from_elsewhere(api: Api, path: str) -> None:
    reply = await api.client.get(path)
    assert reply.status_code == 200
    for link in re.findall(r'(?:src|href)="([^"]+)"', reply.text):
        if link.startswith("/"):
            assert (await api.client.get(link)).status_code == 200, link
        else:
            assert link == "data:,"


def test_no_file_of_the_pages_names_another_host() -> None:
    for file in STATIC.iterdir():
        assert not re.findall(r"https?://(?!\$)", file.read_text(encoding="utf-8")), file.name


async def test_scripts_of_others_cannot_run_in_the_page(api: Api) -> None:
    policy = (await api.client.get("/")).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "media-src http://localhost:9092 blob:" in policy


async def test_the_page_and_the_clients_learn_where_storage_is(tmp_path: Path) -> None:
    async with api_app(tmp_path / "a") as api:
        reply = await api.client.get("/api/v1/system", headers={"Host": "127.0.0.1:9095"})
        assert reply.json()["storage_url"] == "http://127.0.0.1:9092"
        reply = await api.client.get("/api/v1/system", headers={"Host": "[::1]:9095"})
        assert reply.json()["storage_url"] == "http://[::1]:9092"
    async with api_app(tmp_path / "b", ApiSettings(storage_url="https://nas.example.lan/media/")) as api:
        assert (await api.client.get("/api/v1/system")).json()["storage_url"] == "https://nas.example.lan/media"


def test_data_from_cameras_is_never_parsed_as_html() -> None:
    for script in STATIC.glob("*.js"):
        assert "innerHTML" not in script.read_text(encoding="utf-8")
