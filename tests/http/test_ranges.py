"""Conditions and ranges: one table per rule of RFC 9110 §13 and §14, for a file of ten bytes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.ranges import NotModified, Outcome, Part, PreconditionFailed, Unsatisfiable, Whole, decide
from tests.linear import linear

CHANGED = datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
DATE = "Sun, 01 Mar 2026 12:00:00 GMT"
EARLIER = "Sun, 01 Mar 2026 11:59:59 GMT"
LATER = "Fri, 01 Jan 2100 00:00:00 GMT"
TAG = '"v,1"'


def answer(method: str = "GET", /, **headers: str) -> Outcome:
    """The decision for headers given as keywords, such as `if_range`."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return decide(method, sent, is_current=TAG.__eq__, last_modified=CHANGED, size=10)


SATISFIABLE = {
    "first and last": ("bytes=0-3", Part(0, 4)),
    "open end": ("bytes=5-", Part(5, 10)),
    "suffix": ("bytes=-3", Part(7, 10)),
    "suffix longer than the file": ("bytes=-100", Part(0, 10)),
    "end past the file": ("bytes=9-100", Part(9, 10)),
    "whole file": ("bytes=0-", Part(0, 10)),
    "one byte": ("bytes=4-4", Part(4, 5)),
    "unit in capitals (§14.1)": ("BYTES=0-3", Part(0, 4)),
    "leading zeros": ("bytes=" + "0" * 9000 + "1-3", Part(1, 4)),
    "end of absurd length": ("bytes=1-" + "9" * 9000, Part(1, 10)),
    "suffix of absurd length": ("bytes=-" + "9" * 9000, Part(0, 10)),
}

UNSATISFIABLE = {
    "start at the end": "bytes=10-",
    "suffix of nothing": "bytes=-0",
    "start past the end": "bytes=11-20",
    "start of absurd length": "bytes=" + "9" * 9000 + "-",
}

IGNORED = {
    "backwards": "bytes=5-4",
    "backwards past the end": "bytes=30-20",
    "unknown unit": "items=0-3",
    "two ranges": "bytes=0-1,3-4",
    "many ranges": "bytes=" + "0-0," * 20_000 + "0-0",
    "words": "bytes=abc",
    "nothing": "bytes=",
    "three numbers": "bytes=1-2-3",
    "two hyphens": "bytes=--3",
    "plus sign": "bytes=+1-2",
    "hexadecimal": "bytes=0x1-3",
    "underscore": "bytes=1_0-",
    "unit alone": "bytes",
    "no unit": "=0-3",
    "hyphen alone": "bytes=-",
    "Arabic-Indic digits": "bytes=\u0661-\u0663",
    "superscript digits": "bytes=²-³",
    "space inside": "bytes=0 -3",
    "line break": "bytes=0-3\n",
    "empty": "",
}


@pytest.mark.parametrize(("value", "part"), SATISFIABLE.values(), ids=SATISFIABLE.keys())
def test_a_range_is_clamped_to_the_file(value: str, part: Part) -> None:
    assert answer(range=value) == part


@pytest.mark.parametrize("value", UNSATISFIABLE.values(), ids=UNSATISFIABLE.keys())
def test_a_range_without_a_byte_is_unsatisfiable(value: str) -> None:
    assert answer(range=value) == Unsatisfiable()


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=-1", "bytes=0-0"])
def test_an_empty_file_satisfies_no_range(value: str) -> None:
    outcome = decide("GET", {"range": value}, is_current=TAG.__eq__, last_modified=CHANGED, size=0)
    assert outcome == Unsatisfiable()


@pytest.mark.parametrize("value", IGNORED.values(), ids=IGNORED.keys())
def test_a_range_that_is_not_understood_is_ignored(value: str) -> None:
    assert answer(range=value) == Whole()


@pytest.mark.parametrize("method", ["HEAD", "POST"])
def test_a_range_means_something_for_get_only(method: str) -> None:  # RFC 9110 §14.2
    assert answer(method, range="bytes=0-3") == Whole()


IF_RANGE = {
    "strong tag": (TAG, Part(0, 4)),
    "exact date": (DATE, Part(0, 4)),
    "other tag": ('"other"', Whole()),
    "weak tag (§13.1.5)": (f"W/{TAG}", Whole()),
    "later date": (LATER, Whole()),
    "earlier date": (EARLIER, Whole()),
    "garbage": ("garbage", Whole()),
    "empty": ("", Whole()),
    "list of tags": (f"{TAG}, {TAG}", Whole()),
}


@pytest.mark.parametrize(("value", "outcome"), IF_RANGE.values(), ids=IF_RANGE.keys())
def test_if_range_lets_a_part_through_only_for_the_same_file(value: str, outcome: Outcome) -> None:
    assert answer(range="bytes=0-3", if_range=value) == outcome


NAMES_IT = {
    "itself": TAG,
    "star": "*",
    "among others": f'"x", {TAG}',
    "after empty elements": f", ,{TAG}",
    "after a weak one": f'W/"x",{TAG}',
    "after something malformed": f"x y, {TAG}",
}

NAMES_ANOTHER = {
    "other tag": '"x"',
    "empty": "",
    "no quotes": "v,1",
    "only one quote": '"v,1',
    "text after the tag": f"{TAG}x",
    "lower-case weak prefix": f"w/{TAG}",
    "star in a list": '*, "x"',
}


@pytest.mark.parametrize("value", NAMES_IT.values(), ids=NAMES_IT.keys())
def test_if_none_match_of_the_current_tag_is_not_modified(value: str) -> None:
    assert answer(if_none_match=value) == NotModified()
    assert answer("HEAD", if_none_match=value) == NotModified()
    assert answer("DELETE", if_none_match=value) == PreconditionFailed()


@pytest.mark.parametrize("value", NAMES_ANOTHER.values(), ids=NAMES_ANOTHER.keys())
def test_if_none_match_of_another_tag_is_the_whole_file(value: str) -> None:
    assert answer(if_none_match=value) == Whole()


@pytest.mark.parametrize("value", NAMES_IT.values(), ids=NAMES_IT.keys())
def test_if_match_of_the_current_tag_goes_on(value: str) -> None:
    assert answer(if_match=value) == Whole()


@pytest.mark.parametrize("value", NAMES_ANOTHER.values(), ids=NAMES_ANOTHER.keys())
def test_if_match_of_another_tag_fails(value: str) -> None:
    assert answer(if_match=value) == PreconditionFailed()


def test_a_weak_tag_counts_for_if_none_match_but_not_for_if_match() -> None:  # RFC 9110 §8.8.3.2
    assert answer(if_none_match=f"W/{TAG}") == NotModified()
    assert answer(if_match=f"W/{TAG}") == PreconditionFailed()


DATED = {
    "not modified since": ({"if_modified_since": DATE}, NotModified()),
    "not modified since a later date": ({"if_modified_since": LATER}, NotModified()),
    "modified since": ({"if_modified_since": EARLIER}, Whole()),
    "modified since no date": ({"if_modified_since": "garbage"}, Whole()),
    "unmodified since": ({"if_unmodified_since": DATE}, Whole()),
    "changed after if-unmodified-since": ({"if_unmodified_since": EARLIER}, PreconditionFailed()),
    "unmodified since no date": ({"if_unmodified_since": "garbage"}, Whole()),
}


@pytest.mark.parametrize(("headers", "outcome"), DATED.values(), ids=DATED.keys())
def test_dates_are_compared_in_whole_seconds(headers: dict[str, str], outcome: Outcome) -> None:
    assert answer(**headers) == outcome


def test_if_modified_since_means_nothing_to_other_methods() -> None:  # RFC 9110 §13.1.3
    assert answer("DELETE", if_modified_since=LATER) == Whole()


PRECEDENCE = {
    "if-none-match before range": ({"if_none_match": TAG, "range": "bytes=0-3"}, NotModified()),
    "if-match before if-none-match": ({"if_match": '"x"', "if_none_match": TAG}, PreconditionFailed()),
    "if-match hides if-unmodified-since": ({"if_match": TAG, "if_unmodified_since": EARLIER}, Whole()),
    "if-none-match hides if-modified-since": ({"if_none_match": '"x"', "if_modified_since": LATER}, Whole()),
    "if-match before range": ({"if_match": '"x"', "range": "bytes=99-"}, PreconditionFailed()),
    "if-match, then range": ({"if_match": TAG, "range": "bytes=0-3"}, Part(0, 4)),
    "if-range before an unsatisfiable range": ({"if_range": '"x"', "range": "bytes=99-"}, Whole()),
    "if-range without range": ({"if_range": '"x"'}, Whole()),
}


@pytest.mark.parametrize(("headers", "outcome"), PRECEDENCE.values(), ids=PRECEDENCE.keys())
def test_conditions_are_taken_in_the_order_of_the_rfc(headers: dict[str, str], outcome: Outcome) -> None:
    assert answer(**headers) == outcome


def test_the_caller_may_recognise_other_tags_than_the_one_it_sends() -> None:
    headers = {"if-range": '"ticket"', "range": "bytes=2-"}
    outcome = decide("GET", headers, last_modified=CHANGED, size=10, is_current=lambda tag: tag == '"ticket"')
    assert outcome == Part(2, 10)


LONG = {
    "many tags": '"a", ' * 40_000,
    "open quote": '"' + "a," * 100_000,
    "alternating quotes": ',"' * 100_000,
    "spaces": ", " * 100_000 + "x",
    "one long run of spaces": "," + " " * 200_000 + "x",
}


@pytest.mark.parametrize("junk", LONG.values(), ids=LONG.keys())
def test_a_header_full_of_junk_is_decided_in_linear_time(junk: str) -> None:
    names = ("if_none_match", "if_match", "if_modified_since", "if_unmodified_since", "if_range", "range")
    with linear():
        for name in names:
            answer(**{"range": "bytes=0-3", name: junk})


header_text = st.text(st.characters(max_codepoint=255)) | st.text('bytes=-,0123456789"*W/ ', max_size=30)
numeric_range = st.from_regex(r"bytes=([0-9]{1,25})?-([0-9]{1,25})?", fullmatch=True)
names = st.sampled_from(
    ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range", "x"]
)


@given(
    method=st.sampled_from(["GET", "HEAD", "DELETE"]),
    headers=st.dictionaries(names, header_text | numeric_range),
    size=st.integers(min_value=0, max_value=10**13),
)
def test_no_header_raises_and_a_part_is_within_the_file(method: str, headers: dict[str, str], size: int) -> None:
    outcome = decide(method, headers, is_current=TAG.__eq__, last_modified=CHANGED, size=size)
    if isinstance(outcome, Part):
        assert 0 <= outcome.start < outcome.stop <= size
