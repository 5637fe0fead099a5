"""The API tokens, which senders need where any is configured."""

from __future__ import annotations

import hmac

CACHE_FOR = 300  # seconds


class Tokens:
    """The tokens that count now: given ones, or those in a Secrets Manager secret.

    The secret is read when a token is first checked and again after five minutes, so that it can be rotated.
    """

    def __init__(self, given: tuple[str, ...] = (), secret_name: str | None = None) -> None:
        self._given = given
        self._secret_name = secret_name

    @property
    def required(self) -> bool:
        return bool(self._given) or self._secret_name is not None

    def accept(self, presented: str) -> bool:
        """Whether it is one of the tokens, in time that does not tell how nearly."""
        accepted = False
        for token in (*self._given, *self._from_secret()):
            accepted |= hmac.compare_digest(token.encode(), presented.encode(errors="replace"))
        return accepted

    def _from_secret(self) -> list[str]:
        if self._secret_name is None:
            return []
        from aws_lambda_powertools.utilities import parameters

        value = parameters.get_secret(self._secret_name, max_age=CACHE_FOR)
        return [token.strip() for token in str(value).split(",") if token.strip()]
