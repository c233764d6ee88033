import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vms.common.errors import ErrorKind, VmsError
from vms.web.access import AccessPolicy, access_policy, is_loopback, page_origins


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:80", "LocalHost", "localhost.", "127.0.0.1", "127.9.9.9:1", "[::1]:9"]
)
def test_this_machine_has_these_names(host: str) -> None:
    assert AccessPolicy().host_allowed(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost:",
        "localhost:x",
        "localhost:80:80",
        "localhost@evil",
        "10.0.0.1",
        "[::1",
        "[::2]",
        "::1",
    ],
)
def test_anything_else_is_not_this_machine(host: str) -> None:
    assert not AccessPolicy().host_allowed(host)


@settings(max_examples=200)
@given(st.text(max_size=30))
def test_whatever_the_host_header_holds_it_is_judged_without_a_crash(host: str) -> None:
    AccessPolicy(any_address=True).host_allowed(host)


def test_a_service_on_the_network_answers_to_addresses_and_configured_names() -> None:
    policy = access_policy(
        host="192.0.2.7", allowed_hosts=["NVR.lan"], cors_origins=[], allow_insecure_network=True, service="api"
    )
    assert policy.host_allowed("192.0.2.7:9095")
    assert policy.host_allowed("nvr.lan")
    assert not policy.host_allowed("evil.example")


def test_listening_on_the_network_needs_to_be_asked_for_by_name() -> None:
    with pytest.raises(VmsError, match=r"api\.allow_insecure_network: true") as caught:
        access_policy(host="::", allowed_hosts=[], cors_origins=[], allow_insecure_network=False, service="api")
    assert caught.value.kind is ErrorKind.INVALID
    assert "\n" not in caught.value.message


def test_loopback_is_what_only_this_machine_reaches() -> None:
    assert [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "192.0.2.7", "::", "nvr.lan")] == [
        True, True, True, False, False, False
    ]  # fmt: skip


def test_a_page_may_change_what_its_own_host_and_port_serve() -> None:
    policy = AccessPolicy(origins=frozenset({"https://wall.lan"}))
    assert policy.origin_allowed("http://localhost:9095", "localhost:9095")
    assert policy.origin_allowed("https://wall.lan", "localhost:9095")
    for origin in ("http://localhost:9092", "null", "file://", "http://localhost", "http://wall.lan"):
        assert not policy.origin_allowed(origin, "localhost:9095")


def test_the_page_of_this_machine_is_recognised_by_name_and_port() -> None:
    local = page_origins(AccessPolicy(), 9095)
    assert re.fullmatch(local, "http://localhost:9095")
    assert not re.fullmatch(local, "http://192.0.2.7:9095")
    open_to_network = page_origins(AccessPolicy(names=frozenset({"nvr.lan"}), any_address=True), 9095)
    for origin in ("http://192.0.2.7:9095", "https://nvr.lan:9095", "http://[2001:db8::1]:9095"):
        assert re.fullmatch(open_to_network, origin)
    for origin in ("http://nvrxlan:9095", "http://192.0.2.7:9096"):
        assert not re.fullmatch(open_to_network, origin)
