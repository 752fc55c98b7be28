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
        pytest.param("[::ffff:10.0.0.7]:9000", ["10.0.0.7:9000"], id="IPv4 written as IPv6"),
        pytest.param(
            "127.0.0.1:9000,127.0.0.2:9000,localhost:9001",
            ["127.0.0.1:9000", "127.0.0.2:9000", "localhost:9001"],
            id="other loopback addresses",
        ),
        pytest.param("rank_0:9000,localhost:65535", ["rank_0:9000", "localhost:65535"], id="names"),
    ],
)
def test_targets_are_read_in_the_order_given(text: str, expected: list[str]) -> None:
    assert [target.name for target in parse_targets(text)] == expected


def test_ranks_may_be_on_https() -> None:
    urls = [target.url for target in parse_targets("https://node7:9000-9001,http://b:1,https://[fd00::7]:2,c:3")]
    expected = ["https://node7:9000", "https://node7:9001", "http://b:1", "https://[fd00::7]:2", "http://c:3"]
    assert urls == expected


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
        pytest.param("http://a:9000/v1", "HOST:PORT-PORT (no path", id="a path"),
        pytest.param("ftp://a:9000", "HOST:PORT-PORT (no path", id="another scheme"),
        pytest.param("https://a:9000-9001,a:9001", "a:9001 is given twice", id="one rank on http and on https"),
        pytest.param("https://user@a:9000", "no usable host", id="a login"),
        pytest.param("a:0", "'a:0' has a port outside 1-65535", id="port 0"),
        pytest.param("a:65535-65536", "has a port outside", id="a range past the last port"),
        pytest.param("a:9007-9000", "ends before it starts", id="a range backwards"),
        pytest.param("a:1-65535", "more than 1024 ports", id="a range of all ports"),
        pytest.param("a b:9000", "'a b:9000' has no usable host", id="a space in a name"),
        pytest.param("0.0.0.0:9000", "no address that a gateway can send to", id="the any-address"),
        pytest.param("[::ffff:0.0.0.0]:9000", "no address that a gateway can send to", id="the any-address as IPv6"),
        pytest.param("a:9000-9003,A:9002", "a:9002 is given twice", id="one rank twice"),
        pytest.param("[::1]:9000,[0:0::1]:9000", "[::1]:9000 is given twice", id="one IPv6 rank twice"),
        pytest.param("10.0.0.7:9000,[::ffff:a00:7]:9000", "10.0.0.7:9000 is given twice", id="one IPv4 rank as IPv6"),
        pytest.param(
            "localhost:1-3,127.0.0.1:2", "localhost:2 and 127.0.0.1:2 are one rank", id="localhost by address"
        ),
        pytest.param("127.0.0.1:2,[::1]:2", "127.0.0.1:2 and [::1]:2 are one rank", id="both loopback addresses"),
        pytest.param("[::1]:2,LOCALHOST:2", "[::1]:2 and localhost:2 are one rank", id="localhost by IPv6 address"),
        pytest.param("127.1:9000", "'127.1:9000' has a host of digits that is no IPv4 address", id="IPv4 in short"),
        pytest.param("a.0x7f:9000", "has a host of digits", id="a hexadecimal part of an address"),
        pytest.param("2130706433:9000", "has a host of digits", id="an IPv4 address as a number"),
        pytest.param("127.0.0.01:9000", "has a host of digits", id="IPv4 with a leading zero"),
        pytest.param("node7.:9000", "'node7.:9000' has no usable host", id="a dot at the end"),
    ],
)
def test_bad_text_is_named(text: str, named: str) -> None:
    with pytest.raises(TargetError) as refusal:
        parse_targets(text)
    assert named in str(refusal.value)


def test_every_port_of_two_hosts_is_read() -> None:
    assert len(parse_targets("a:9000-10023,b:9000-10023")) == 2 * 1024
