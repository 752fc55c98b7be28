"""What the answers of pip-audit 2.10 mean to `make check`."""

from tests.dependency_audit import verdict

UNKNOWN = '{"name": "jinja2", "skip_reason": "Dependency not found on PyPI and could not be audited: jinja2 (2.4.1)"}'
CLEAN = '{"name": "idna", "version": "3.18", "vulns": []}'
OPEN = """{"name": "jinja2", "version": "2.4.1", "vulns": [{"id": "PYSEC-2014-8", "fix_versions": ["2.7.2"],
  "aliases": ["CVE-2014-1402"], "description": ""}]}"""


def report(*packages: str) -> bytes:
    return f'{{"dependencies": [{", ".join(packages)}], "fixes": []}}'.encode()


def test_a_known_vulnerability_fails_and_is_named() -> None:
    said = verdict(report(CLEAN, OPEN, UNKNOWN.replace("jinja2", "mine")), "Found 1 known vulnerability")
    assert not said.passes
    assert said.lines == (
        "jinja2 2.4.1: PYSEC-2014-8, mended in 2.7.2",
        "dependency audit: 2 packages, 1 known vulnerabilities; not known: mine",
    )


def test_packages_without_any_pass() -> None:
    said = verdict(report(CLEAN), "No known vulnerabilities found")
    assert said == (("dependency audit: 1 packages, 0 known vulnerabilities",), True)


def test_where_nothing_is_known_of_any_package_it_says_that_nothing_was_audited() -> None:
    said = verdict(report(UNKNOWN, UNKNOWN), "No known vulnerabilities found")
    assert said.passes
    (line,) = said.lines
    assert line.startswith("dependency audit: not done, the advisories cannot be reached (Dependency not found on PyPI")


def test_where_nothing_answers_it_says_why_in_one_line() -> None:
    said = verdict(b"", "Traceback\nrequests.exceptions.ConnectionError: Name or service not known")
    assert said.passes
    (line,) = said.lines
    assert "not done" in line
    assert "Name or service not known" in line


def test_without_pip_audit_it_fails_and_says_how_to_get_it() -> None:
    said = verdict(b"", "/venv/bin/python: No module named pip_audit")
    assert said == (("dependency audit: pip-audit is not installed; make check installs it",), False)
