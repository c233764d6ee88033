"""Authentication: the examples of the RFCs, the choice among challenges, odd headers."""

import hashlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vms.media.rtsp.auth import Authenticator, parse_challenges
from vms.media.rtsp.url import Credentials

MUFASA = Credentials("Mufasa", "Circle of Life")


def fields(header: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in re.findall(r'(\w+)=("[^"]*"|[^,\s]+)', header)}


def answer(challenge: str, credentials: Credentials = MUFASA, cnonce: str = "c") -> dict[str, str]:
    authenticator = Authenticator(credentials, cnonce=lambda: cnonce)
    assert authenticator.accept([challenge]) is not None
    header = authenticator.header("GET", "/dir/index.html")
    assert header is not None
    return fields(header)


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
    ],
)
def test_the_examples_of_rfc_7616(algorithm: str, expected: str) -> None:
    got = answer(
        f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"',
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    assert got["response"] == expected
    assert got["opaque"] == "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
    assert (got["qop"], got["nc"], got["algorithm"]) == ("auth", "00000001", algorithm)


def test_the_example_of_rfc_2617() -> None:
    got = answer(
        'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"',
        Credentials("Mufasa", "Circle Of Life"),
        "0a4f113b",
    )
    assert got["response"] == "6629fae49393a05397450978507c4ef1"


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()  # noqa: S324 - what is tested


def test_without_qop_the_old_formula_is_used() -> None:
    got = answer('Digest realm="r", nonce="n"')
    assert got["response"] == md5(f"{md5('Mufasa:r:Circle of Life')}:n:{md5('GET:/dir/index.html')}")
    assert "nc" not in got


def test_session_variants_hash_the_nonces_into_the_secret() -> None:
    got = answer('Digest realm="r", nonce="n", algorithm=MD5-sess, qop="auth"')
    secret = md5(f"{md5('Mufasa:r:Circle of Life')}:n:c")
    assert got["response"] == md5(f"{secret}:n:00000001:c:auth:{md5('GET:/dir/index.html')}")
    assert answer('Digest realm="r", nonce="n", algorithm=MD5-sess')["cnonce"] == "c"


def test_the_nonce_count_rises_and_starts_again_with_a_new_nonce() -> None:
    authenticator = Authenticator(MUFASA)
    counts = []
    for nonce in ("a", "b"):
        authenticator.accept([f'Digest realm="r", nonce="{nonce}", qop="auth"'])
        counts += [fields(authenticator.header("GET", "/") or "")["nc"] for _ in range(2)]
    assert counts == ["00000001", "00000002", "00000001", "00000002"]


def test_basic_is_the_base64_of_both() -> None:
    authenticator = Authenticator(Credentials("Aladdin", "open sesame"))
    assert authenticator.header("GET", "/") is None
    assert authenticator.accept(['Basic realm="x"']) is not None
    assert authenticator.header("GET", "/") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


@pytest.mark.parametrize(
    ("offers", "scheme", "algorithm"),
    [
        (['Basic realm="x"', 'Digest realm="x", nonce="n"'], "digest", "MD5"),
        (
            ['Digest realm="x", nonce="n"', 'Digest realm="x", nonce="n", algorithm=SHA-256', "Basic"],
            "digest",
            "SHA-256",
        ),
        (['Digest realm="x", nonce="n", algorithm=SHA-512-256', 'Basic realm="x"'], "basic", "MD5"),
        (['Digest realm="x", nonce="n", qop="auth-int"', 'Basic realm="x"'], "basic", "MD5"),
        (['Digest realm="Basic a=b", nonce="n", Basic realm="x"'], "digest", "MD5"),
        (['Negotiate, Basic realm="x"'], "basic", "MD5"),
    ],
)
def test_the_strongest_challenge_that_can_be_answered_is_chosen(offers: list[str], scheme: str, algorithm: str) -> None:
    challenge = Authenticator(MUFASA).accept(offers)
    assert challenge is not None
    assert (challenge.scheme, challenge.algorithm) == (scheme, algorithm)


def test_nothing_usable_is_none() -> None:
    assert Authenticator(MUFASA).accept([]) is None
    assert Authenticator(MUFASA).accept(["Bearer", 'Digest realm="no nonce"']) is None


def test_stale_is_read_without_case() -> None:
    (challenge,) = parse_challenges(['Digest realm="r", nonce="n", stale="TRUE"'])
    assert challenge.stale
    assert not parse_challenges(["Digest stale=false"])[0].stale


def test_quotes_are_taken_off_for_the_hash_and_put_back_for_the_wire() -> None:
    authenticator = Authenticator(Credentials('a"b', "p"))
    authenticator.accept(['Digest realm="say \\"hi\\"", nonce="n"'])
    header = authenticator.header("GET", "/") or ""
    assert 'username="a\\"b"' in header
    assert 'realm="say \\"hi\\""' in header
    response = md5(f"{md5('a' + chr(34) + 'b:say ' + chr(34) + 'hi' + chr(34) + ':p')}:n:{md5('GET:/')}")
    assert f'response="{response}"' in header


@settings(max_examples=200)
@given(st.lists(st.text(max_size=60), max_size=3), st.text(max_size=20))
def test_any_challenge_is_answered_or_left(values: list[str], uri: str) -> None:
    for prefix in ("", "Digest ", 'Digest nonce="x",'):
        authenticator = Authenticator(MUFASA)
        if authenticator.accept([prefix + value for value in values]) is None:
            assert authenticator.header("GET", "/") is None
        else:
            assert authenticator.header("GET", uri.encode("utf-8", "replace").decode())


def test_the_password_is_in_no_repr() -> None:
    authenticator = Authenticator(MUFASA)
    assert "Circle" not in repr(MUFASA)
    assert "Circle" not in repr(authenticator)
