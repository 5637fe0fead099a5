"""The access tokens. If any is configured, senders need one."""

from __future__ import annotations

import hmac
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from shared.errors import StorageUnavailable

log = logging.getLogger(__name__)

READ_EVERY = 300.0  # seconds
# If the secret cannot be read.
KEEP_FOR = 3600.0
READ_AGAIN_AFTER = 5.0


class Tokens:
    """The valid tokens: those configured, or those in a secret, which `read` returns separated by commas.

    The secret is read again every five minutes, so that you can rotate it. If that fails, the last tokens stay valid
    for an hour; after that, or if the secret was never read, no request can be authorised. `clock` returns seconds, and
    must keep running while a Lambda function is frozen.
    """

    def __init__(
        self,
        configured: tuple[str, ...] = (),
        read: Callable[[], str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._configured = configured
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._secret: tuple[str, ...] = ()
        self._read_at = self._last_try = self._next_try = -math.inf
        self._reason = ""

    @property
    def required(self) -> bool:
        return bool(self._configured) or self._read is not None

    @property
    def stale(self) -> bool:
        """Whether `refresh` would read the secret."""
        # Setting the clock back must not keep old tokens valid.
        return self._read is not None and not self._last_try <= self._clock() < self._next_try

    def accept(self, presented: str) -> bool:
        """Whether this is one of the tokens, compared in constant time. Raises `StorageUnavailable`."""
        self.refresh()
        accepted = False
        for token in (*self._configured, *self._secret):
            accepted |= hmac.compare_digest(token.encode(), presented.encode(errors="replace"))
        return accepted

    def refresh(self) -> None:
        """Read the secret, if there is one and it is stale. Raises `StorageUnavailable`."""
        if self._read is None:
            return
        with self._lock:
            if self.stale:
                self._try(self._read)
            if not self._read_at <= self._clock() < self._read_at + KEEP_FOR:
                raise StorageUnavailable(self._reason)

    def _try(self, read: Callable[[], str]) -> None:
        self._last_try = self._clock()
        try:
            text = read()
        except StorageUnavailable as error:
            self._reason = error.reason
            self._next_try = self._last_try + READ_AGAIN_AFTER
            log.warning("%s", error.reason)
            return
        self._secret = tuple(token.strip() for token in text.split(",") if token.strip())
        self._read_at, self._next_try = self._last_try, self._last_try + READ_EVERY


def read_secret(name: str) -> str:
    """Read the text of a secret from AWS Secrets Manager. Raises `StorageUnavailable`."""
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.session import Session

    config = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
    try:
        client: Any = Session().create_client("secretsmanager", config=config)
        text = client.get_secret_value(SecretId=name).get("SecretString")
    except (BotoCoreError, ClientError, ValueError) as error:
        raise StorageUnavailable(f"the secret with the access tokens cannot be read: {error}") from error
    if not isinstance(text, str):
        raise StorageUnavailable("the secret with the access tokens contains no text")
    return text
