"""The state of a process's loggers, before and after the first event of a Lambda function."""

from __future__ import annotations

import logging

# The loggers that the first event configures for the whole process.
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
