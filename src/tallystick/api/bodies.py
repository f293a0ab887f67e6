"""Bodies that the framework cannot read off a handler, for the OpenAPI document: raw bytes, and signed entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from litestar.openapi.spec import OpenAPIFormat, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema

OCTETS: Final = "application/octet-stream"


@dataclass
class BytesOperation(Operation):
    """The body is bytes."""

    def __post_init__(self) -> None:
        """Say so."""
        schema = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        self.request_body = RequestBody({OCTETS: OpenAPIMediaType(schema=schema)}, "The bytes.", required=True)


@dataclass
class EntryOperation(Operation):
    """The body is a signed entry in canonical JSON, whose fields are those of docs/spec/transactions.md."""

    def __post_init__(self) -> None:
        """Say so."""
        schema = Schema(type=OpenAPIType.OBJECT)
        content = {"application/json": OpenAPIMediaType(schema=schema)}
        self.request_body = RequestBody(content, "One signed entry, canonical JSON.", required=True)
