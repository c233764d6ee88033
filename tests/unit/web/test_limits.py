from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from tests.support.http import http_client

from vms.web.limits import BodyLimitMiddleware
from vms.web.problem import install_problem_handlers


async def test_a_body_may_be_as_large_as_the_limit_and_no_larger() -> None:
    app = FastAPI()
    install_problem_handlers(app)
    app.add_middleware(BodyLimitMiddleware, max_bytes=10)

    @app.post("/")
    async def size(request: Request) -> int:
        return len(await request.body())

    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x"

    async with http_client(app, 80) as client:
        assert (await client.post("/", content=b"x" * 10)).json() == 10
        assert (await client.post("/", content=chunks(10))).json() == 10
        assert (await client.post("/", content=b"x" * 11)).status_code == 413
        assert (await client.post("/", content=chunks(11))).status_code == 413
