"""What the loggers of a process were set to, and to what the first event of a Lambda function sets them."""

from __future__ import annotations

import logging

# Those that the first event takes over for the whole process.
LAMBDA_LOGGERS = ("shared", "shared.metrics", "mangum", "botocore")

LoggerState = tuple[int, bool, list[logging.Handler]]


def logger_state(name: str) -> LoggerState:
    logger = logging.getLogger(name)
    return logger.level, logger.propagate, list(logger.handlers)


def set_loggers(states: dict[str, LoggerState]) -> None:
    for name, (level, propagate, logged_by) in states.items():
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers = list(logged_by)
