"""What `forebay up` prints when it is ready."""

import json
import shlex

from forebay.announcement import announcement
from forebay.settings import UpSettings


def say(settings: UpSettings, url: str, *, key_demanded: bool = False) -> str:
    return announcement(settings, url, "given by --redis", program=".venv/bin/forebay", key_demanded=key_demanded)


def lines(settings: UpSettings, *, key_demanded: bool = False) -> list[str]:
    return say(settings, "redis://u:pw@h:1/0", key_demanded=key_demanded).splitlines()


def test_the_first_line_has_redis_and_every_gateway() -> None:
    expected = "redis redis://***@h:1/0, gateways http://127.0.0.1:8100 http://127.0.0.1:8101"
    assert lines(UpSettings(port=8100))[0] == f"forebay up is ready: {expected}"


def test_a_curl_line_survives_a_shell_whatever_the_model_is_called() -> None:
    curl = shlex.split(lines(UpSettings(model='it\'s "a" model'))[-1])
    assert json.loads(curl[curl.index("-d") + 1])["model"] == 'it\'s "a" model'


def test_where_a_key_is_demanded_the_curl_line_names_its_variable_and_not_the_key() -> None:
    assert "Bearer $FOREBAY_API_KEY" in lines(UpSettings(), key_demanded=True)[-1]
    assert "Bearer" not in lines(UpSettings())[-1]


def test_no_line_has_the_login_or_an_options_value() -> None:
    for url in ("redis://us3r:pw@h:1/0?password=pw", "redis://:p/w@h", "redis://:p?pw@h"):
        said = say(UpSettings(), url)
        assert "pw" not in said
        assert "us3r" not in said


def test_a_url_that_is_not_whole_is_not_offered_for_copying() -> None:
    assert not any("--redis redis://***" in line for line in lines(UpSettings()))
    whole = say(UpSettings(), "redis://h:1/0")
    assert " .venv/bin/forebay status --redis redis://h:1/0\n" in whole
    assert " redis://h:1/0  (given by --redis)\n" in whole
