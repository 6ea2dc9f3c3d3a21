"""The API is as netconsd/console/openapi.json describes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netconsd.console import limits
from netconsd.console.api import OPENAPI
from netconsd.console.failure import Refused
from netconsd.crashes import SEVERITIES
from netconsd.rendering import LEVELS
from netconsd.testing import crash_datagrams, extended
from tests.console.running import Running
from tests.console.stores import small
from tests.console.tools import need

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.console import api, filters
from tests.console.asking import asker

DESCRIPTION = json.loads(OPENAPI.read_text())


def parameters(path: str) -> set[str]:
    """Return the parameters of a query that the description has."""
    found = DESCRIPTION["paths"][path]["get"]["parameters"]
    shared = DESCRIPTION["components"]["parameters"]
    named = [shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each for each in found]
    return {each["name"] for each in named if each["in"] != "header"}


def test_every_path_is_described() -> None:
    """The paths of the description are those of the API."""
    listed = {f"/{name}" for name in api._QUERIES} | {f"/{name}/{{{word}}}" for name, (_, word) in api._NAMED.items()}
    assert set(DESCRIPTION["paths"]) == listed | {"/status", "/receiver", "/live", "/login", "/logout"}


@pytest.mark.parametrize("path", [path for path, item in DESCRIPTION["paths"].items() if "get" in item])
def test_every_parameter_is_described(tmp_path: Path, path: str) -> None:
    """The parameters of a query are those of the description: an unknown one is refused with their names."""
    name, _, word = path.strip("/").partition("/")
    query = api._NAMED[name][0] if word else api._QUERIES.get(name)
    if query is None:
        assert parameters(path) == ({*filters.FILTER, "last", "last_event_id"} if path == "/live" else set())
        return
    with pytest.raises(Refused) as error:
        asker(small(tmp_path / "store"))(query, zz="1")
    assert error.value.field == "zz"
    assert set(error.value.text.partition("there are: ")[2].split(", ")) == parameters(path)


def test_numbers_and_words_are_those_of_the_code() -> None:
    """Bounds and words in the description are those of the code."""
    schemas = DESCRIPTION["components"]["schemas"]
    assert set(LEVELS) < set(DESCRIPTION["components"]["parameters"]["level"]["schema"]["enum"])
    assert schemas["Group"]["properties"]["severity"]["enum"] == list(SEVERITIES)
    (limit,) = [each for each in DESCRIPTION["paths"]["/messages"]["get"]["parameters"] if each.get("name") == "limit"]
    assert (limit["schema"]["default"], limit["schema"]["maximum"]) == (limits.PAGE, limits.PAGE_LIMIT)
    (last,) = [each for each in DESCRIPTION["paths"]["/live"]["get"]["parameters"] if each.get("name") == "last"]
    assert last["schema"]["maximum"] == limits.REPLAY_MESSAGES


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A console with some messages and a crash."""
    directory = tmp_path_factory.mktemp("console")
    made = Running(directory / "store", directory / "log")
    made.send([extended(f"eth0: link {number}", seq=number, ts_usec=number + 1) for number in range(900, 920)])
    made.send(crash_datagrams())
    made.until(lambda: made.get("crashes")["groups"])
    yield made
    made.stop()


OPERATIONS = [
    (path, method) for path, item in DESCRIPTION["paths"].items() for method in item if path not in ("/live", "/logout")
]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_generated_requests(running: Running, path: str, method: str) -> None:
    """Requests that schemathesis makes from the description, valid and not, get the answers that it describes."""
    need("schemathesis")
    import schemathesis
    from hypothesis import HealthCheck, given, settings

    schema: Any = schemathesis.openapi.from_dict(DESCRIPTION)
    schema.config.base_url = f"http://127.0.0.1:{running.http}/api/v1"
    operation = schema[path][method.upper()]
    headers = {"X-CSRF-Token": running.get("status")["csrf"]}
    checks: Any = schemathesis.checks
    specs: Any = schemathesis
    chosen = [
        checks.not_a_server_error,
        *(getattr(specs.specs.openapi.checks, name) for name in _CHECKS),
    ]

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def call(case: Any) -> None:
        response = case.call(headers=headers)
        assert response.status_code < 500, response.text
        case.validate_response(response, checks=chosen)

    call()


#: The status, the media type and the schema of an answer are described.
_CHECKS = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
