from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse

from vms.web.streaming import Representation, content_disposition, ranged_response

DATA = bytes(range(100))


async def read(start: int, end: int) -> AsyncIterator[bytes]:
    for position in range(start, end, 7):
        yield DATA[position : min(position + 7, end)]


REPRESENTATION = Representation(size=100, etag='"a"', modified_us=0, media_type="video/mp4", read=read)


async def test_the_body_is_exactly_as_long_as_announced() -> None:
    for header, expected in ((None, DATA), ("bytes=3-20", DATA[3:21])):
        headers = {} if header is None else {"range": header}
        reply = ranged_response(REPRESENTATION, method="GET", headers=headers)
        assert isinstance(reply, StreamingResponse)
        body = b"".join([bytes(chunk) async for chunk in reply.body_iterator])  # type: ignore[arg-type] # bytes here
        assert body == expected
        assert reply.headers["content-length"] == str(len(expected))


def test_head_ignores_range_and_says_the_whole_length() -> None:
    reply = ranged_response(REPRESENTATION, method="HEAD", headers={"range": "bytes=0-9"})
    assert (reply.status_code, reply.headers["content-length"]) == (200, "100")


def test_a_file_name_with_quotes_and_umlauts_is_sent_in_both_forms() -> None:
    assert content_disposition('Tür "1"\r\n.mp4') == (
        "attachment; filename=\"T_r _1___.mp4\"; filename*=UTF-8''T%C3%BCr%20%221%22%0D%0A.mp4"
    )
