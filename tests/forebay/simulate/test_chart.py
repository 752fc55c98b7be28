"""The plots of a simulation."""

from io import BytesIO
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from forebay.simulate.cases import Case
from forebay.simulate.chart import Chart, Drawing, Line, Point, drawing
from forebay.simulate.plot import PLOTTED, charts
from forebay.simulate.png import SCALE, png
from forebay.simulate.report import CaseReport
from forebay.simulate.svg import svg
from simulator.cluster.figures import Figures
from simulator.cluster.spread import Spread

SPREAD = Spread(mean=1500.0, p50=1000.0, p90=2000.0, p99=4000.0, se=30.0)


def report(
    policy: str = "least_work",
    gateways: int = 1,
    load: float = 0.9,
    *,
    burst: float = 1.0,
    clients: int | None = None,
    ttft_ms: Spread | None = SPREAD,
) -> CaseReport:
    figures = Figures(
        ttft_ms=ttft_ms,
        ttft_late_ms=SPREAD,
        tpot_ms=SPREAD,
        e2e_ms=SPREAD,
        throughput_rps=1.0,
        goodput=0.75,
        goodput_se=0.01,
        hit_rate=0.0,
        hit_rate_se=0.0,
        believed_hit_rate=0.0,
        imbalance=1.0,
        rejected=0,
        placements_by_gateway={},
        placements_by_rank={},
        seeds=(),
    )
    return CaseReport(
        case=Case(policy=policy, gateways=gateways, load=load, burst=burst),
        workload="w",
        store="memory",
        prefill=1,
        decode=1,
        mixed=0,
        clients=clients,
        requests=1,
        figures=figures,
    )


def test_loads_lie_along_the_axis_where_there_are_several() -> None:
    found = charts([report(load=0.9), report(load=0.5), report("random", load=0.5), report("random", load=0.9)])
    assert [chart.title for chart in found] == list(PLOTTED)
    assert {chart.along for chart in found} == {"load"}
    assert [line.name for line in found[0].lines] == ["least_work, 1 gateway", "random, 1 gateway"]
    assert [point.x for point in found[0].lines[0].points] == [0.5, 0.9]
    assert (found[0].lines[0].points[0].y, found[0].lines[0].points[0].error) == (1500, 30)


def test_gateways_lie_along_the_axis_where_there_is_one_load() -> None:
    found = charts([report(gateways=64), report(gateways=1)])
    assert {chart.along for chart in found} == {"gateways"}
    assert [line.name for line in found[0].lines] == ["least_work, load 0.9"]
    assert [point.x for point in found[0].lines[0].points] == [1, 64]


def test_cases_with_a_burst_and_without_are_lines_of_their_own() -> None:
    found = charts([report(burst=burst, gateways=gateways) for burst in (1, 2.5) for gateways in (1, 4)])
    assert [line.name for line in found[0].lines] == ["least_work, load 0.9", "least_work, load 0.9, burst 2.5"]
    assert all([point.x for point in line.points] == [1, 4] for line in found[0].lines)
    by_load = charts([report(burst=burst, load=load, gateways=2) for burst in (1, 2) for load in (0.5, 0.9)])
    assert [line.name for line in by_load[0].lines] == ["least_work, 2 gateways", "least_work, 2 gateways, burst 2"]


@pytest.mark.parametrize(("clients", "name"), [(1, "least_work, 1 client"), (20, "least_work, 20 clients")])
def test_clients_that_wait_for_their_answers_are_named_in_place_of_a_load(clients: int, name: str) -> None:
    found = charts([report(clients=clients, gateways=gateways) for gateways in (1, 4)])
    assert [line.name for line in found[0].lines] == [name]


def test_a_case_without_a_figure_has_no_point_and_a_figure_without_a_point_no_chart() -> None:
    some = charts([report(ttft_ms=None, load=0.9), report(load=0.5), report("random", ttft_ms=None, load=0.5)])
    assert [chart.title for chart in some] == list(PLOTTED)
    assert [[point.x for point in line.points] for line in some[0].lines] == [[0.5], []]
    assert png(drawing(some))
    assert svg(drawing(some))
    none = charts([report(ttft_ms=None)])
    assert [chart.title for chart in none] == [title for title in PLOTTED if "TTFT" not in title]


magnitudes = st.just(0.0) | st.floats(1e-6, 1e9)
points = st.builds(Point, x=st.floats(0, 1e4), y=magnitudes, error=magnitudes)


def lines(least_points: int) -> st.SearchStrategy[Line]:
    some = st.lists(points, min_size=least_points, max_size=5).map(tuple)
    return st.builds(Line, name=st.text(max_size=20), points=some)


any_charts = st.lists(
    st.builds(
        Chart,
        title=st.text(max_size=20),
        along=st.text(max_size=20),
        lines=st.builds(lambda first, rest: (first, *rest), lines(1), st.lists(lines(0), max_size=20)),
    ),
    min_size=1,
    max_size=3,
)


@given(any_charts)
def test_everything_lies_on_the_image(found: list[Chart]) -> None:
    drawn = drawing(found)
    for stroke in drawn.strokes:
        assert all(0 <= x <= drawn.width and 0 <= y <= drawn.height for x, y in stroke.points)
    assert all(0 <= word.x <= drawn.width and 0 <= word.y <= drawn.height for word in drawn.words)


def some_drawing() -> Drawing:
    return drawing(charts([report("a<b&c", load=0.5), report("a<b&c", load=0.9)]))


def test_an_svg_image_says_what_the_drawing_says() -> None:
    drawn = some_drawing()
    root = ET.fromstring(svg(drawn))
    assert root.get("height") == str(drawn.height)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == [word.text for word in drawn.words]
    assert "a<b&c, 1 gateway" in texts


def test_a_png_image_has_ink_of_every_colour_drawn() -> None:
    drawn = some_drawing()
    with Image.open(BytesIO(png(drawn)), formats=["PNG"]) as image:
        assert image.size == (drawn.width * SCALE, drawn.height * SCALE)
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24) or []}
    for stroke in drawn.strokes:
        assert tuple(bytes.fromhex(stroke.colour[1:])) in colours
