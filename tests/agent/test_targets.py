import pytest

from agent.errors import TargetError
from agent.targets import Target, parse_targets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("10.0.0.7:9000", ["10.0.0.7:9000"], id="one port"),
        pytest.param("Node7:9000-9002", ["node7:9000", "node7:9001", "node7:9002"], id="a range"),
        pytest.param("[FD00::7]:9000-9001", ["[fd00::7]:9000", "[fd00::7]:9001"], id="IPv6 in brackets"),
        pytest.param("[fd00:0:0::0007]:9000", ["[fd00::7]:9000"], id="IPv6 in its short form"),
        pytest.param("a:1, b.example:2-2", ["a:1", "b.example:2"], id="a list with a space"),
        pytest.param("rank_0:9000,localhost:65535", ["rank_0:9000", "localhost:65535"], id="names"),
    ],
)
def test_targets_are_read_in_the_order_given(text: str, expected: list[str]) -> None:
    assert [target.name for target in parse_targets(text)] == expected


def test_an_ipv6_target_has_a_url_with_brackets() -> None:
    assert Target("fd00::7", 9000).url == "http://[fd00::7]:9000"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param("", "'' is not HOST:PORT", id="nothing"),
        pytest.param("9000", "'9000' is not HOST:PORT", id="no host"),
        pytest.param(":9000", "':9000' has no usable host", id="an empty host"),
        pytest.param("a:1,,b:2", "'' is not HOST:PORT", id="an empty part"),
        pytest.param("::1:9000", "'::1:9000' is not HOST:PORT", id="IPv6 without brackets"),
        pytest.param("[node7]:9000", "'[node7]:9000' has no usable host", id="a name in brackets"),
        pytest.param("[fe80::1%eth0]:9000", "only this node understands", id="an IPv6 zone"),
        pytest.param("http://a:9000", "'http://a:9000' is not", id="a URL"),
        pytest.param("a:0", "'a:0' has a port outside 1-65535", id="port 0"),
        pytest.param("a:65535-65536", "has a port outside", id="a range past the last port"),
        pytest.param("a:9007-9000", "ends before it starts", id="a range backwards"),
        pytest.param("a b:9000", "'a b:9000' has no usable host", id="a space in a name"),
        pytest.param("0.0.0.0:9000", "no address that a gateway can send to", id="the any-address"),
        pytest.param("a:9000-9003,A:9002", "a:9002 is given twice", id="one rank twice"),
        pytest.param("[::1]:9000,[0:0::1]:9000", "[::1]:9000 is given twice", id="one IPv6 rank twice"),
    ],
)
def test_bad_text_is_named(text: str, named: str) -> None:
    with pytest.raises(TargetError) as refusal:
        parse_targets(text)
    assert named in str(refusal.value)
