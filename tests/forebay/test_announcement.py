"""What `forebay up` prints when it is ready."""

import json
import shlex

import pytest

from forebay.announcement import announcement, without_password
from forebay.settings import UpSettings


def lines(settings: UpSettings, *, key_demanded: bool = False) -> list[str]:
    return announcement(settings, "redis://u:pw@h:1/0", "as given", key_demanded=key_demanded).splitlines()


def test_the_first_line_has_redis_and_every_gateway() -> None:
    expected = "redis redis://u:***@h:1/0, gateways http://127.0.0.1:8100 http://127.0.0.1:8101"
    assert lines(UpSettings(port=8100))[0] == f"forebay up is ready: {expected}"


def test_a_curl_line_survives_a_shell_whatever_the_model_is_called() -> None:
    curl = shlex.split(lines(UpSettings(model='it\'s "a" model'))[-1])
    assert json.loads(curl[curl.index("-d") + 1])["model"] == 'it\'s "a" model'


def test_where_a_key_is_demanded_the_curl_line_names_its_variable_and_not_the_key() -> None:
    assert "Bearer $FOREBAY_API_KEY" in lines(UpSettings(), key_demanded=True)[-1]
    assert "Bearer" not in lines(UpSettings())[-1]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:pw@h:1", "redis://:***@h:1"),
        ("rediss://user:p%40w@h", "rediss://user:***@h"),
        ("redis+sentinel://u:pw@a:1,b:2/service", "redis+sentinel://u:***@a:1,b:2/service"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
