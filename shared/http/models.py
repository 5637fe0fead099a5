"""The JSON that endpoints take and answer, and its models for the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, WithJsonSchema
from starlette.requests import Request

from shared.options import MAX_DOWNLOADS_LIMIT, MAX_ENCRYPTED_METADATA, MAX_EXPIRES_IN, MAX_PASSWORD_LENGTH
from shared.sharing import Record, Shares, rfc3339

PROBLEM_TYPE = "application/problem+json"
EXAMPLE_ID = "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"
EXAMPLE_KEY = f"raw/{EXAMPLE_ID}"


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON schema of a type."""
    return TypeAdapter(kind).json_schema()


class FileEncryption(BaseModel):
    """How the sender encrypted the file before uploading it. Only people with the key can read it."""

    scheme: Literal["c2sp-chunked-v1-aes128gcm"]
    metadata: str | None = Field(description="Encrypted name, type and size, in base64url; null in lists of files.")


class FileMetadata(BaseModel):
    """The metadata of a file."""

    original_name: str = Field(examples=["report.pdf"])
    content_type: str = Field(examples=["application/pdf"])
    file_size: int = Field(description="Bytes.", examples=[48213])
    download_count: int = Field(examples=[3])
    download_link: str = Field(examples=[f"http://127.0.0.1:8080/file/download/{EXAMPLE_ID}"])
    download_page: str = Field(
        description="Page with the file's details. Opening it never counts as a download.",
        examples=[f"http://127.0.0.1:8080/download/{EXAMPLE_ID}"],
    )
    sha256: str | None = Field(
        description="SHA-256 of the file, in hex; null if the server never saw the bytes (direct uploads)."
    )
    encryption: FileEncryption | None
    created_at: datetime
    expires_at: datetime | None
    max_downloads: int | None
    password_protected: bool
    inbox_id: str | None = Field(default=None, description="Inbox of the file; shown only to the owner.")
    sender: str | None = Field(default=None, description="Name that the sender entered; shown only to the owner.")
    shared: bool | None = Field(default=None, description="Whether anyone with the link can download it.")


class UploadedFile(FileMetadata):
    """A file that was just uploaded."""

    file_id: str = Field(examples=[EXAMPLE_ID])
    delete_token: str = Field(description="Anyone with this token can change and delete the file. Not shown again.")


Lifetime = Annotated[int, Field(ge=1, le=MAX_EXPIRES_IN)]
Cap = Annotated[int, Field(ge=1, le=MAX_DOWNLOADS_LIMIT)]
# Limited because pydantic detects lone surrogates only in strings whose length it checks.
Text = Annotated[str, Field(max_length=1024)]
Password = Annotated[str, Field(min_length=1, max_length=MAX_PASSWORD_LENGTH)]


class SentEncryption(BaseModel):
    """Says that the file is encrypted. The server stores this, calls the file `encrypted`, and cannot read it."""

    model_config = ConfigDict(extra="forbid")

    scheme: Literal["c2sp-chunked-v1-aes128gcm"]
    metadata: str = Field(
        max_length=MAX_ENCRYPTED_METADATA,
        pattern="^[A-Za-z0-9_-]+$",
        description="Encrypted name, type and size, in base64url without padding.",
    )


class Receipt(BaseModel):
    """The answer to the sender of a file in an inbox, who can only delete it."""

    file_id: str = Field(examples=[EXAMPLE_ID])
    inbox_id: str = Field(examples=[EXAMPLE_ID])
    original_name: str
    file_size: int
    sha256: str | None
    delete_token: str = Field(description="Anyone with this token can delete the file. Not shown again.")


class CompletedUpload(UploadedFile):
    """A file that was uploaded in parts."""

    location: str = Field(description="The download link, under the name that Uppy expects.")
    key: str = Field(examples=[EXAMPLE_KEY])


class CompletedReceipt(Receipt):
    """A file that was uploaded in parts into an inbox."""

    location: str = Field(description="The page of the inbox.")
    key: str = Field(examples=[EXAMPLE_KEY])


class OptionChanges(BaseModel):
    """The options to change. null removes an option; options that are left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    expires_in: Lifetime | None = Field(default=None, description="Seconds from now.")
    max_downloads: Cap | None = None
    password: Password | None = None
    shared: Literal[True] | None = Field(
        default=None, description="For a file in an inbox: lets anyone with its link download it."
    )


class SentOptions(BaseModel):
    """The options of an upload. Numbers can also be sent as strings."""

    # `options.from_metadata` checks the values.
    expires_in: Annotated[int | Text, WithJsonSchema(schema_of(Lifetime))] | None = Field(
        default=None, description="Lifetime in seconds, from the completion of the upload."
    )
    max_downloads: Annotated[int | Text, WithJsonSchema(schema_of(Cap))] | None = None
    password: Annotated[int | Text, WithJsonSchema(schema_of(Password))] | None = None
    encryption: SentEncryption | None = None
    inbox: Text | None = Field(default=None, description="ID of the inbox for the file. No token is required then.")
    sender: Text | None = Field(default=None, description="Your name, for the owner of the inbox.")


class ProblemDocument(BaseModel):
    """An error, as an RFC 9457 problem."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str


def metadata(request: Request, record: Record, *, in_list: bool = False) -> dict[str, Any]:
    """The public view of a record, as every endpoint shows it. A list omits the longest field."""
    encryption, base = record.encryption, base_url(request)
    return {
        "original_name": record.original_name,
        "content_type": record.content_type,
        "file_size": record.file_size,
        "download_count": record.download_count,
        "download_link": f"{base}/file/download/{record.file_id}",
        "download_page": f"{base}/download/{record.file_id}",
        "sha256": record.sha256,
        "encryption": None
        if encryption is None
        else {"scheme": encryption.scheme, "metadata": None if in_list else encryption.metadata},
        "created_at": rfc3339(record.created_at),
        "expires_at": rfc3339(record.expires_at),
        "max_downloads": record.max_downloads,
        "password_protected": record.password_hash is not None,
    }


def owner_metadata(request: Request, record: Record, *, in_list: bool = False) -> dict[str, Any]:
    """The view of a record for the owner of its inbox, if it is in one."""
    view = metadata(request, record, in_list=in_list)
    if record.inbox_id is not None:
        view |= {"inbox_id": record.inbox_id, "sender": record.sender, "shared": record.shared}
    return view


def uploaded(request: Request, shares: Shares, record: Record) -> dict[str, Any]:
    """The answer to the sender of a file; for an inbox only a receipt. May read the signing key, once in a process."""
    token = shares.signing.delete_token(record.file_id)
    if record.inbox_id is not None:
        return {
            "file_id": record.file_id,
            "inbox_id": record.inbox_id,
            "original_name": record.original_name,
            "file_size": record.file_size,
            "sha256": record.sha256,
            "delete_token": token,
        }
    return {"file_id": record.file_id, **metadata(request, record), "delete_token": token}


def inbox_page(request: Request, inbox_id: str) -> str:
    """The address of an inbox, which its owner passes on."""
    return f"{base_url(request)}/inbox/{inbox_id}"


def download_page(request: Request, file_id: str) -> str:
    """The address of a file's landing page, which is the link that people share."""
    return f"{base_url(request)}/download/{file_id}"


def base_url(request: Request) -> str:
    """The address at which clients reach the server, without a trailing slash.

    The configured URL; else the gateway's domain name, which clients cannot choose; else the request's scheme and Host,
    whose syntax `layers.edge` has checked. `X-Forwarded-Host` is never trusted.
    """
    public_url: str | None = request.app.state.service.settings.public_url
    if public_url is not None:
        return public_url
    event = request.scope.get("aws.event")
    domain = event.get("requestContext", {}).get("domainName") if isinstance(event, dict) else None
    if domain:
        return f"https://{domain}"
    return f"{request.scope['scheme']}://{request.headers['host']}{request.scope.get('root_path', '')}"
