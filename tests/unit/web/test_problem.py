from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from tests.support.http import http_client

from vms.common.errors import HTTP_STATUS, ErrorKind, VmsError
from vms.web.problem import install_problem_handlers


class Body(BaseModel):
    secret: int


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    install_problem_handlers(app)

    @app.get("/fail/{kind}")
    async def fail(kind: str) -> None:
        raise VmsError(ErrorKind(kind), "what went wrong", path="/secret/path")

    @app.post("/body")
    async def body(content: Body) -> int:
        return content.secret

    async with http_client(app, 80) as made:
        yield made


@pytest.mark.parametrize("kind", list(ErrorKind))
async def test_every_kind_of_error_has_its_status_and_keeps_its_context_to_itself(
    client: httpx.AsyncClient, kind: ErrorKind
) -> None:
    reply = await client.get(f"/fail/{kind}")
    assert reply.status_code == HTTP_STATUS[kind]
    assert reply.headers["content-type"] == "application/problem+json"
    body = reply.json()
    assert (body["kind"], body["detail"], body["type"]) == (kind, "what went wrong", "about:blank")
    assert "secret" not in reply.text


async def test_a_validation_error_names_the_field_and_not_what_was_in_it(client: httpx.AsyncClient) -> None:
    reply = await client.post("/body", json={"secret": "hunter2"})
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["field"] == "secret"
    assert "hunter2" not in reply.text
    missing = await client.post("/body", json={})
    assert missing.json()["detail"] == "secret: is required"
