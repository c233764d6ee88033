from http import HTTPStatus

from vms.common.errors import HTTP_STATUS, ErrorKind, VmsError


def test_every_kind_has_an_http_status_that_exists_and_says_error() -> None:
    assert set(HTTP_STATUS) == set(ErrorKind)
    assert all(HTTPStatus(status) >= 400 for status in HTTP_STATUS.values())


def test_an_error_shows_its_message_and_keeps_kind_and_context() -> None:
    error = VmsError(ErrorKind.STORAGE, "the disk is full", path="/srv", free_bytes=0)
    assert str(error) == error.message == "the disk is full"
    assert error.kind is ErrorKind.STORAGE
    assert error.context == {"path": "/srv", "free_bytes": 0}
