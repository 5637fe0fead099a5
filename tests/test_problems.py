"""The table of errors: every error of the product has an answer."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

import pytest

from shared import errors
from shared.http.problems import PROBLEMS


def _below(kind: type[errors.ShareError]) -> Iterator[type[errors.ShareError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def test_every_error_of_the_product_has_a_row_and_nothing_else_has() -> None:
    # Only its subclasses are raised.
    assert set(PROBLEMS) == {*_below(errors.ShareError)} - {errors.FileError}


@pytest.mark.parametrize("kind", PROBLEMS, ids=lambda kind: kind.__name__)
def test_what_may_pass_by_itself_says_when_to_try_again(kind: type[errors.ShareError]) -> None:
    row = PROBLEMS[kind]
    passing = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
    assert ("Retry-After" in row.headers) == (row.status in passing)


@pytest.mark.parametrize("kind", PROBLEMS, ids=lambda kind: kind.__name__)
def test_errors_that_need_credentials_say_how_to_send_them(kind: type[errors.ShareError]) -> None:  # RFC 9110 §11.6.1
    row = PROBLEMS[kind]
    assert ("WWW-Authenticate" in row.headers) == (row.status == HTTPStatus.UNAUTHORIZED)


def test_every_kind_of_problem_is_named_once() -> None:  # RFC 9457 §3.1.1: the type identifies the problem
    kinds = [row.kind for row in PROBLEMS.values() if row.kind is not None]
    assert len(kinds) == len(set(kinds))
