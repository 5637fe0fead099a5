"""Runs when S3 reports a new raw object: makes the blob of a completed direct upload."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import unquote_plus

from shared import metrics
from shared.sealing import seal
from shared.telemetry import LambdaHandler

log = logging.getLogger("shared.seal")

# S3's ID of the request that completed the object.
CORRELATION_ID = 'Records[0].responseElements."x-amz-request-id"'


class SealFailed(Exception):
    """Some files of an event could not be sealed; the log says why. Makes Lambda retry the event."""


class SealHandler(LambdaHandler):
    def handle(self, event: dict[str, Any], _context: Any) -> dict[str, int]:
        shares = self.service.shares
        sealed, failed = 0, 0
        # S3 puts one record into each event but does not promise to. Its test event has none.
        for entry in event.get("Records", []):
            # S3 encodes keys in events like form fields (Amazon S3 User Guide, "Event message structure").
            file_id = unquote_plus(entry["s3"]["object"]["key"]).rpartition("/")[2]
            try:
                sealed += seal(shares, file_id)
            except Exception:
                # Seal the others nevertheless.
                log.exception("sealing failed", extra={"file_id": file_id})
                failed += 1
        if sealed:
            metrics.add("Sealed", sealed)
        if failed:
            raise SealFailed(f"{failed} of {len(event['Records'])}")
        return {"sealed": sealed}


handler = SealHandler(__name__, CORRELATION_ID)
