"""How the replay is told what to do."""

from benchmarks.replay import main


def test_its_variables_are_not_those_that_forebay_would_refuse() -> None:
    variables = [str(parameter.envvar) for parameter in main.params if parameter.envvar]
    assert variables
    assert all(name.startswith("BENCH_") for name in variables)
