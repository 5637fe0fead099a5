"""The JSON of the answers: how a record is shown, and the same shapes for the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, WithJsonSchema
from starlette.requests import Request

from shared.options import MAX_DOWNLOADS_LIMIT, MAX_EXPIRES_IN, MAX_PASSWORD_LENGTH
from shared.sharing import Record, Shares, rfc3339

PROBLEM_TYPE = "application/problem+json"
EXAMPLE_ID = "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON schema of a type."""
    return TypeAdapter(kind).json_schema()


class FileMetadata(BaseModel):
    """What is known about a file."""

    original_name: str = Field(examples=["report.pdf"])
    content_type: str = Field(examples=["application/pdf"])
    file_size: int = Field(description="Bytes.", examples=[48213])
    download_count: int = Field(examples=[3])
    download_link: str = Field(examples=[f"http://127.0.0.1:8080/file/download/{EXAMPLE_ID}"])
    download_page: str = Field(
        description="A page that shows the file and never counts.",
        examples=[f"http://127.0.0.1:8080/download/{EXAMPLE_ID}"],
    )
    sha256: str | None = Field(description="SHA-256 of the bytes, in hex; null where they never passed through us.")
    created_at: datetime
    expires_at: datetime | None
    max_downloads: int | None
    password_protected: bool


class UploadedFile(FileMetadata):
    """A file that was just stored."""

    file_id: str = Field(examples=[EXAMPLE_ID])
    delete_token: str = Field(description="Allows its holder to change and delete the file. Shown only here.")


Lifetime = Annotated[int, Field(ge=1, le=MAX_EXPIRES_IN)]
Cap = Annotated[int, Field(ge=1, le=MAX_DOWNLOADS_LIMIT)]
# Bounded, since pydantic looks for half a character only in what it measures.
Text = Annotated[str, Field(max_length=1024)]
Password = Annotated[str, Field(min_length=1, max_length=MAX_PASSWORD_LENGTH)]


class OptionChanges(BaseModel):
    """What to set; null removes, and what is not named stays."""

    model_config = ConfigDict(extra="forbid")

    expires_in: Lifetime | None = Field(default=None, description="Seconds from now.")
    max_downloads: Cap | None = None
    password: Password | None = None


class SentOptions(BaseModel):
    """The options of an upload in JSON, where numbers can be text. `options.from_metadata` checks their values."""

    expires_in: Annotated[int | Text, WithJsonSchema(schema_of(Lifetime))] | None = Field(
        default=None, description="Seconds, from completion on."
    )
    max_downloads: Annotated[int | Text, WithJsonSchema(schema_of(Cap))] | None = None
    password: Annotated[int | Text, WithJsonSchema(schema_of(Password))] | None = None


class ProblemDocument(BaseModel):
    """RFC 9457."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str


def metadata(request: Request, record: Record) -> dict[str, Any]:
    """The public view of a record, as every endpoint shows it."""
    return {
        "original_name": record.original_name,
        "content_type": record.content_type,
        "file_size": record.file_size,
        "download_count": record.download_count,
        "download_link": f"{base_url(request)}/file/download/{record.file_id}",
        "download_page": download_page(request, record.file_id),
        "sha256": record.sha256,
        "created_at": rfc3339(record.created_at),
        "expires_at": rfc3339(record.expires_at),
        "max_downloads": record.max_downloads,
        "password_protected": record.password_hash is not None,
    }


def uploaded(request: Request, shares: Shares, record: Record) -> dict[str, Any]:
    """What the sender of a file is told. The first use of the signing key in a process may read it from storage."""
    token = shares.signing.delete_token(record.file_id)
    return {"file_id": record.file_id, **metadata(request, record), "delete_token": token}


def download_page(request: Request, file_id: str) -> str:
    """The address of a file's landing page, which is what people send one another."""
    return f"{base_url(request)}/download/{file_id}"


def base_url(request: Request) -> str:
    """Where the client reaches us, without a trailing slash.

    The configured URL; else the gateway's own domain name, which no client can choose; else the request's scheme and
    Host, whose syntax was checked at the edge. `X-Forwarded-Host` is never believed.
    """
    configured: str | None = request.app.state.service.settings.public_url
    if configured is not None:
        return configured
    event = request.scope.get("aws.event")
    domain = event.get("requestContext", {}).get("domainName") if isinstance(event, dict) else None
    if domain:
        return f"https://{domain}"
    return f"{request.url.scheme}://{request.headers['host']}{request.scope.get('root_path', '')}"
