"""The status operation is fixed exactly, because clients outside this repository depend on it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from browser_sessions.api.models.session_models import BrowserSessionResponse
from tests.harness.fakes.fake_node import Node, node

CONTRACT: dict[str, Any] = json.loads((Path(__file__).parent / "get_browser_session.json").read_text())
STATUS = (CONTRACT["path"], CONTRACT["method"])
SCHEMA: dict[str, Any] = CONTRACT["responses"]["200"]["schema"]


def resolved(schema: Any, document: dict[str, Any]) -> Any:
    """`schema` with every `$ref` resolved."""
    if isinstance(schema, list):
        return [resolved(item, document) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return resolved(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]], document)
    return {name: resolved(item, document) for name, item in schema.items()}


def test_the_operation_matches_the_contract_exactly(document: dict[str, Any]) -> None:
    operation = document["paths"][CONTRACT["path"]][CONTRACT["method"]]
    assert operation["summary"] == CONTRACT["summary"]
    assert operation["description"] == CONTRACT["description"]
    assert operation["security"] == [{name: []} for name in CONTRACT["security"]]
    assert operation["parameters"] == CONTRACT["parameters"]
    assert operation.get("requestBody") is None
    scheme = document["components"]["securitySchemes"]["OAuth2PasswordBearer"]
    assert scheme["flows"]["password"]["tokenUrl"] == "/v1/auth/token"


def test_its_responses_are_200_and_422_with_the_contracts_schemas(document: dict[str, Any]) -> None:
    responses = document["paths"][CONTRACT["path"]][CONTRACT["method"]]["responses"]
    assert list(responses) == list(CONTRACT["responses"])
    for status, expected in CONTRACT["responses"].items():
        assert responses[status]["description"] == expected["description"]
        assert list(responses[status]["content"]) == [expected["content_type"]]
        assert (
            resolved(responses[status]["content"][expected["content_type"]]["schema"], document) == expected["schema"]
        )


def test_the_eight_properties_have_the_contracts_order(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["BrowserSessionResponse"]
    assert list(schema["properties"]) == list(SCHEMA["properties"])
    assert schema["required"] == SCHEMA["required"]


@pytest.fixture
async def service(tmp_path: Path) -> Any:
    async with node(tmp_path) as running:
        yield running


def of_type(value: Any, schema: dict[str, Any]) -> bool:
    if "anyOf" in schema:
        return any(of_type(value, option) for option in schema["anyOf"])
    if schema.get("format") == "date-time":
        return isinstance(value, str) and datetime.fromisoformat(value).utcoffset() is not None
    kinds: dict[str, type] = {"string": str, "integer": int, "null": type(None)}
    return type(value) is kinds[schema["type"]]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user_agent": "Mozilla/5.0 (Test)", "viewport_width": 1, "viewport_height": 8192},
        {"idle_timeout_seconds": None},
    ],
)
async def test_a_response_has_exactly_the_eight_fields_in_order(service: Node, body: dict[str, Any]) -> None:
    mine = await service.key()
    made = (await service.client.post("/v1/browser/sessions", json=body, headers=mine)).json()
    response = await service.client.get(f"/v1/browser/sessions/{made['session_id']}", headers=mine)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    fields = json.loads(response.text)
    assert list(fields) == SCHEMA["required"]
    assert all(of_type(fields[name], schema) for name, schema in SCHEMA["properties"].items())
    assert fields["status"] == "active"


async def test_an_ended_session_has_the_same_fields(service: Node) -> None:
    mine = await service.key()
    made = (await service.client.post("/v1/browser/sessions", headers=mine)).json()
    ended = await service.client.delete(f"/v1/browser/sessions/{made['session_id']}", headers=mine)
    again = await service.client.get(f"/v1/browser/sessions/{made['session_id']}", headers=mine)
    assert list(again.json()) == SCHEMA["required"]
    assert again.json() == ended.json()
    assert again.json()["status"] == "closed"


async def test_the_status_bytes_equal_the_models_json(service: Node) -> None:
    mine = await service.key()
    made = (await service.client.post("/v1/browser/sessions", json={"user_agent": "é?"[1:]}, headers=mine)).json()
    for _ in range(2):  # live, then ended
        content = (await service.client.get(f"/v1/browser/sessions/{made['session_id']}", headers=mine)).content
        assert BrowserSessionResponse.model_validate_json(content).model_dump_json().encode() == content
        await service.client.delete(f"/v1/browser/sessions/{made['session_id']}", headers=mine)


def test_every_other_v1_operation_accepts_a_key_or_a_token(document: dict[str, Any]) -> None:
    scheme = document["components"]["securitySchemes"]["APIKeyHeader"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "X-API-Key")
    seen = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path.startswith("/v1/") and path != "/v1/auth/token" and (path, method) != STATUS:
                seen += 1
                where = f"{method} {path}"
                assert operation["security"] == [{"APIKeyHeader": []}, {"OAuth2PasswordBearer": []}], where
                assert "X-API-Key" not in [each["name"] for each in operation.get("parameters", ())], where
    assert seen > 30


def test_operation_ids_are_short_and_unique(document: dict[str, Any]) -> None:
    paths = document["paths"]
    ids = [operation["operationId"] for operations in paths.values() for operation in operations.values()]
    assert len(ids) == len(set(ids))
    assert paths[STATUS[0]][STATUS[1]]["operationId"] == "get_browser_session"
    assert paths["/v1/browser/sessions"]["post"]["operationId"] == "create_browser_session"
    assert max(map(len, ids)) < 30
