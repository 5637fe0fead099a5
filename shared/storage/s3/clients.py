"""S3 clients, and the time limits of their requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import botocore
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.session import Session
from botocore.utils import determine_content_length

from shared.errors import StorageUnavailable
from shared.storage.s3.errors import failure
from shared.time_limit import TimeLimit

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

READ_TIMEOUT = 20.0
CONDITIONAL_TIMEOUT = 3.0
CONNECTIONS = 64
# Bytes. With larger bodies, a client waits until the server agrees to receive them.
SENT_AT_ONCE = 1024 * 1024
# The first with `If-Match` for PutObject and an option to omit checksums, which other servers do not support.
OLDEST_BOTOCORE = (1, 36)


def open_clients(limit: TimeLimit | None = None) -> tuple[S3Client, S3Client]:
    """Two clients, configured by the usual `AWS_*` settings; the second never retries a request.

    They come from botocore, because boto3 also loads a transfer manager: 45 of the 250 ms that a client costs at start.
    With a `limit`, requests that start too late fail, and all have the limit's timeouts. Raises `StorageUnavailable`.
    """
    if tuple(int(number) for number in botocore.__version__.split(".")[:2]) < OLDEST_BOTOCORE:
        raise StorageUnavailable(
            f"botocore {botocore.__version__} is too old: conditional writes need 1.36 or newer",
            lasting=True,
        )
    try:
        session = Session()
        session.get_scoped_config()
        session.register("before-call.s3", _send_small_bodies_at_once)
        if limit is not None:
            session.register("before-send.s3", limit.require)
    except BotoCoreError as error:
        # For example, the profile does not exist.
        raise failure(error) from error
    connect, read = (CONDITIONAL_TIMEOUT, READ_TIMEOUT) if limit is None else (limit.connect, limit.read)
    return _client(session, 4, connect, read), _client(session, 1, connect, CONDITIONAL_TIMEOUT)


def _send_small_bodies_at_once(**call: Any) -> None:
    # For each of them, botocore would wait a round trip for the server's consent.
    request = call["params"]
    size = determine_content_length(request["body"])
    if size is not None and size <= SENT_AT_ONCE:
        request["headers"].pop("Expect", None)


def _client(session: Session, attempts: int, connect: float, read: float) -> S3Client:
    retries: Any = {"mode": "standard", "total_max_attempts": attempts}

    def build(style: Literal["virtual", "path"]) -> S3Client:
        # "when_required" sends no checksum trailers with plain puts, which not every S3 server supports.
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": style},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=connect,
            read_timeout=read,
            retries=retries,
            max_pool_connections=CONNECTIONS,
        )
        return cast("S3Client", session.create_client("s3", config=config))

    try:
        client = build("virtual")
        # Servers other than AWS rarely have a host name for each bucket.
        return client if ".amazonaws.com" in client.meta.endpoint_url else build("path")
    except (BotoCoreError, ValueError) as error:
        raise StorageUnavailable(f"no S3 client: {error}") from error
