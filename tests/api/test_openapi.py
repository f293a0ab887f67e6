"""The OpenAPI document is true: whatever is asked, nothing fails inside, and every answer is one that it describes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks

from tallystick.api.guard import SOCKET, TABLE
from tests.node_process import NodeProcess

STREAM = "/api/v1/events"
EXAMPLES = 25
HELD_TO = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]

HELD = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def document(node: NodeProcess) -> Any:  # noqa: ANN401 - the library's schema
    """The document of the running node."""
    return schemathesis.openapi.from_url(f"{node.url}/schema")


@pytest.fixture(scope="module")
def session() -> Any:  # noqa: ANN401 - the library's session
    """Connections that are kept."""
    with requests.Session() as kept:
        yield kept


@pytest.mark.parametrize("route", [each for each in TABLE if each[0] != SOCKET and each[1] != STREAM], ids=" ".join)
def test_no_answer_is_a_surprise(document: Any, session: requests.Session, route: tuple[str, str]) -> None:  # noqa: ANN401
    method, path = route

    @HELD
    @given(case=document[path][method].as_strategy())
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(session=session, checks=HELD_TO, timeout=20)

    ask()


def test_the_stream_is_described_and_refuses_as_described(node: NodeProcess) -> None:
    operation = httpx.get(f"{node.url}/schema", timeout=20).json()["paths"][STREAM]["get"]
    assert "text/event-stream" in operation["responses"]["200"]["content"]
    for query in ("after=-2", "after=x", "job=A", f"after={1 << 60}"):
        answer = httpx.get(f"{node.url}{STREAM}?{query}", timeout=20)
        assert answer.status_code == 422
        assert str(answer.status_code) in operation["responses"]


def test_every_answer_is_written_down(node: NodeProcess) -> None:
    document = httpx.get(f"{node.url}/schema", timeout=20).json()
    assert document["openapi"].startswith("3.1")
    for path, item in document["paths"].items():
        for method, operation in item.items():
            answers = operation["responses"]
            assert {"400", "401", "403", "404", "429", "503"} <= set(answers), (method, path)
            assert any(status.startswith("2") for status in answers), (method, path)
            for status, answer in answers.items():
                assert answer["description"]
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"]
            assert operation["summary"]
            assert operation["tags"]
