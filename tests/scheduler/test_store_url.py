"""How a store's URL is read, and that nobody sees what is secret in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import StoreUrlError
from scheduler.store_url import FORMS, parse_store_url, shown_url

SECRET_LETTERS = "PQVWZ"
"""Letters that stand nowhere but in secrets."""

secrets = st.text(alphabet=SECRET_LETTERS + "/#?@%:&=+,[]. \n\u2100\udcff0", min_size=1).filter(
    lambda text: set(text) & set(SECRET_LETTERS)
)
hosts = st.sampled_from(["", "h", "h:1", "a.b:6379", "[::1]:6379", "h:1,i:2", "h:port", "h:99999", "h:1,"])
paths = st.sampled_from(["", "/", "/0", "/service", "/service/3", "/x/y", "/%20"])
schemes = st.sampled_from([*FORMS, "http", ""])


@st.composite
def urls_with_secrets(draw: st.DrawFn) -> str:
    """URLs of all forms and of none, with secrets, escaped or not, where people put them."""
    user, password, value = draw(secrets), draw(secrets), draw(secrets)
    login = draw(st.sampled_from([f":{password}@", f"{user}:{password}@", f"{user}@"]))
    query = draw(
        st.sampled_from(["", f"?password={value}", f"?client_name={value}&password={password}", "?db=" + value])
    )
    return f"{draw(schemes)}{draw(st.sampled_from(['://', '://', ':']))}{login}{draw(hosts)}{draw(paths)}{query}"


def shows_a_secret(text: str) -> bool:
    return bool(set(text) & set(SECRET_LETTERS))


def complaint_about(url: str) -> str:
    try:
        parse_store_url(url)
    except StoreUrlError as error:
        return str(error)
    return ""


@given(urls_with_secrets())
def test_no_secret_is_shown_whatever_the_url(url: str) -> None:
    assert not shows_a_secret(shown_url(url)), shown_url(url)


@given(urls_with_secrets())
def test_no_secret_is_in_a_complaint_whatever_the_url(url: str) -> None:
    assert not shows_a_secret(complaint_about(url)), complaint_about(url)


@given(urls_with_secrets())
def test_no_secret_is_where_the_client_connects_to(url: str) -> None:
    """The library shows host, port and path in its errors."""
    if not complaint_about(url):
        read = parse_store_url(url)
        assert not shows_a_secret(f"{read.hosts} {read.socket_path} {read.service}")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://[::1]:1/0", "redis://[::1]:1/0"),
        ("redis://:pw@h:1", "redis://***@h:1"),
        ("rediss://user:p%40w@h", "rediss://***@h"),
        ("redis+sentinel://u:pw@a:1,b:2/service", "redis+sentinel://***@a:1,b:2/service"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("redis://h:1/0?password=pw", "redis://h:1/0?***"),
        ("redis://:p/w@h:1", "redis://***"),
        ("redis://:p?w@h:1", "redis://***"),
        ("redis://:p#w@h:1", "redis://***"),
        ("redis://:p@w@h:1", "redis://***"),
        ("redis://:forgotten-host", "redis://***"),
        ("pw", "***"),
        ("pw://h", "***"),
    ],
)
def test_a_url_is_shown_as_far_as_it_holds_no_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@given(st.text(st.characters(exclude_characters="/?#@:%", codec="utf-8"), min_size=1))
def test_a_password_is_taken_as_it_stands(password: str) -> None:
    assert parse_store_url(f"redis://:{password}@h").options == {"password": password}


@pytest.mark.parametrize(
    ("url", "hosts", "options"),
    [
        ("redis://h", (("h", 6379),), {}),
        ("redis://u:a%2Fb%3Fc%23d%40e%25@h:1/3", (("h", 1),), {"username": "u", "password": "a/b?c#d@e%", "db": 3}),
        ("redis://h?password=a%26b&db=2", (("h", 6379),), {"password": "a&b", "db": 2}),
        ("redis://[::1]:7", (("::1", 7),), {}),
        ("redis+sentinel://a,b:2/s/4", (("a", 26379), ("b", 2)), {"db": 4}),
        ("rediss://h?ssl_check_hostname=no", (("h", 6379),), {"ssl_check_hostname": False}),
    ],
)
def test_a_url_says_where_and_how(url: str, hosts: tuple[tuple[str, int], ...], options: dict[str, object]) -> None:
    read = parse_store_url(url)
    assert (read.hosts, read.options) == (hosts, options)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("redis://h?tiemout=1", "known: username, password, client_name, db"),
        ("redis://h?ssl_ca_certs=x", "unknown option"),
        ("rediss://h?ssl_cert_reqs=perhaps", "ssl_cert_reqs is one of required, optional, none"),
        ("redis+cluster://h/3", "a cluster has no databases"),
        ("redis://a,b", "one host"),
        ("redis:///0", "no host"),
        ("redis://a..b", "expected redis://"),
        ("unix://h/path", "expected unix://"),
        ("unix://", "expected unix://"),
        ("redis://:p/w@h", "are written %2F %3F %23 %40"),
        ("redis://:\udcff@h", "not UTF-8"),
    ],
)
def test_a_bad_url_is_told_by_what_is_wrong(url: str, complaint: str) -> None:
    with pytest.raises(StoreUrlError) as caught:
        parse_store_url(url)
    assert complaint in str(caught.value)
