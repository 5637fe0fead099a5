"""The page's implementation of private links fits the published vectors."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from share.private.chunks import encrypt_all
from share.private.keys import Key, new_salt
from share.private.metadata import METADATA_CONTEXT, Metadata

from tests.client.private_vectors import KEY, PATH
from tests.wire.server import Server

VECTORS: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
MESSAGES = {vector["title"]: vector for vector in VECTORS["messages"]}
LIBRARY = """async () => {
    const format = await import("/static/any/private-format.js");
    const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const unhex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
    const textOf = (size) => Uint8Array.from({ length: size }, (_, index) => index % 251);
    const encrypted = async ({ key, salt, context, size, text }) => {
        const cipher = await format.Cipher.create(unhex(key), unhex(salt), context);
        const plain = text === undefined ? textOf(size) : unhex(text);
        return (await cipher.encrypt({ start: 0, stop: format.encryptedSize(plain.length) }, plain, true)).bytes;
    };
    const refusal = async (action) => {
        try {
            await action();
        } catch (error) {
            if (error instanceof format.Damaged) return error.message;
            throw error;
        }
    };
    Object.assign(window, { format, hex, unhex, textOf, encrypted, refusal });
}"""
ENCRYPT = """async (vector) => {
    const data = await encrypted(vector);
    const digest = hex(new Uint8Array(await crypto.subtle.digest("SHA-256", data)));
    const cipher = await format.Cipher.ofHeader(unhex(vector.key), data.subarray(0, format.HEADER), vector.context);
    const text = await cipher.decrypt(0, data.subarray(format.HEADER), true);
    const digestOfText = hex(new Uint8Array(await crypto.subtle.digest("SHA-256", text)));
    const sizes = [format.encryptedSize(vector.size), format.plainSize(data.length)];
    return { header: hex(cipher.header), digest, digestOfText, sizes };
}"""
# Decrypts a message that arrives in pieces of this many bytes. Returns the reason why it is refused, and the number of
# bytes that were handed on.
DECRYPT = """async ([key, context, data, piece]) => {
    const decryption = new format.Decryption(unhex(key), data.length);
    let count = 0;
    async function* pieces() {
        for (let at = 0; at < data.length; at += piece) yield data.subarray(at, at + piece);
    }
    const reason = await refusal(async () => {
        for await (const batch of format.batchesOf(pieces())) {
            const text = await decryption.push(batch);
            if (text.some((byte, index) => byte !== (count + index) % 251)) throw new Error("another text");
            count += text.length;
        }
    });
    return [reason ?? null, count];
}"""
REFUSED = f"""async ([pieces, flip, key, context, piece]) => {{
    const parts = [];
    for (const [vector, start, stop] of pieces) parts.push((await encrypted(vector)).subarray(start, stop));
    const data = new Uint8Array(await new Blob(parts).arrayBuffer());
    for (const offset of flip) data[offset] ^= 1;
    return ({DECRYPT})([key, context, data, piece]);
}}"""


# Encrypts ranges of a message, each alone. Returns whether each is that range of the whole, and the number of its tags.
ENCRYPT_RANGES = """async ([vector, ranges]) => {
    const whole = await encrypted(vector);
    const cipher = await format.Cipher.create(unhex(vector.key), unhex(vector.salt), vector.context);
    return Promise.all(ranges.map(async ([start, stop]) => {
        const { first, end } = format.chunksIn(start, stop);
        const text = textOf(vector.size).subarray(first * format.CHUNK, end * format.CHUNK);
        const { bytes, tags } = await cipher.encrypt({ start, stop }, text, end * format.CHUNK > vector.size);
        return [hex(bytes) === hex(whole.subarray(start, stop)), tags.length / 16];
    }));
}"""


@pytest.fixture(scope="module")
def page(chromium: Browser, server: Server) -> Page:
    page = chromium.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.evaluate(LIBRARY)
    return page


def test_the_page_encrypts_and_decrypts_what_the_vectors_say(page: Page) -> None:
    for vector in VECTORS["messages"]:
        answer = page.evaluate(ENCRYPT, vector)
        text = bytes.fromhex(vector["text"]) if "text" in vector else bytes(range(251)) * (vector["size"] // 251 + 1)
        assert answer == {
            "header": vector["header"],
            "digest": vector["sha256"],
            "digestOfText": hashlib.sha256(text[: vector["size"]]).hexdigest(),
            "sizes": [vector["encrypted_size"], vector["size"]],
        }


@pytest.mark.parametrize("piece", [1000, 16_400, 100_000])
def test_the_page_hands_on_nothing_of_a_bad_chunk(page: Page, piece: int) -> None:
    for vector in VECTORS["refused"]:
        pieces = [[MESSAGES[title], start, stop] for title, start, stop in vector["pieces"]]
        key, context = vector.get("key", KEY.secret.hex()), vector.get("context")
        if context is not None:
            # The page decrypts files in one context only, so encrypt this one in the other.
            pieces = [[{**message, "context": context}, start, stop] for message, start, stop in pieces]
        reason, count = page.evaluate(REFUSED, [pieces, vector.get("flip", []), key, context, piece])
        assert reason in {"key", "damaged", "cut"}, vector["title"]
        assert count <= vector["before"], vector["title"]


@pytest.mark.parametrize("piece", [1000, 16_400, 524_800, 2_000_000])
def test_batches_are_handed_on_until_one_is_bad(page: Page, piece: int) -> None:
    vector = {**MESSAGES["0 bytes"], "size": 100 * 16_384}
    for chunk, whole in ((None, 100), (0, 0), (31, 0), (32, 32), (64, 64), (100, 96)):
        count = whole * 16_384
        flip = [] if chunk is None else [56 + chunk * 16_400]
        pieces = [[vector, 0, 56 + 100 * 16_400 + 16]]
        assert page.evaluate(REFUSED, [pieces, flip, vector["key"], vector["context"], piece]) == [
            None if chunk is None else "damaged",
            count,
        ]
    # What comes after the end was not encrypted.
    pieces.append([vector, 0, 1])
    assert page.evaluate(REFUSED, [pieces, [], vector["key"], vector["context"], piece]) == ["damaged", 96 * 16_384]


def test_ranges_are_those_of_the_vectors(page: Page) -> None:
    for vector in VECTORS["ranges"]:
        assert page.evaluate("(number) => format.offsetOf(number)", vector["first"]) == vector["offset"]
        chunks = page.evaluate("({ offset, end }) => format.chunksIn(offset, end)", vector)
        assert chunks == {"first": vector["first"], "end": (vector["stop"] - 1) // 16_384 + 1}
    # The header belongs to no chunk, and a byte to one.
    ranges = [(0, 10), (0, 56), (0, 57), (56, 57), (16_455, 16_457), (16_456, 16_457)]
    chunks = [page.evaluate("(range) => format.chunksIn(...range)", list(span)) for span in ranges]
    assert [(each["first"], each["end"]) for each in chunks] == [(0, 0), (0, 0), (0, 1), (0, 1), (0, 2), (1, 2)]


def test_any_range_is_encrypted_like_the_whole(page: Page) -> None:
    vector = {**VECTORS["messages"][0], "size": 3 * 16_384}
    size = 56 + 3 * 16_400 + 16
    ranges = {(0, 10): 0, (10, 57): 1, (0, size): 4, (50, 20_000): 2, (16_455, 16_457): 2, (40_000, 40_001): 1}
    ranges |= {(16_456, 32_856): 1, (20_000, size - 16): 2, (20_000, size): 3, (size - 1, size): 1}
    results = page.evaluate(ENCRYPT_RANGES, [vector, [list(span) for span in ranges]])
    assert results == [[True, chunks] for chunks in ranges.values()]


def test_sizes_that_no_encrypted_file_has_are_refused(page: Page) -> None:
    for size in [0, 1, 55, 56, 71, 56 + 16_400, 56 + 16_400 + 15]:
        assert page.evaluate("(size) => refusal(() => format.plainSize(size))", size) == "cut"


def test_a_fragment_is_a_key_in_only_one_way(page: Page) -> None:
    for vector in VECTORS["fragments"]:
        assert page.evaluate("(text) => hex(format.keyOf(text))", vector["fragment"]) == vector["key"]
        assert page.evaluate("(key) => format.toText(unhex(key))", vector["key"]) == vector["fragment"][2:]
    for fragment in VECTORS["bad_fragments"]:
        assert page.evaluate("(text) => format.keyOf(text)", fragment) is None


def test_metadata_say_the_same_to_page_and_client(page: Page) -> None:
    for vector in VECTORS["metadata"]:
        read = "([key, option]) => format.decryptMetadata(unhex(key), option)"
        assert page.evaluate(read, [vector["key"], vector["encryption"]]) == vector["fields"]
        write = "([key, fields]) => format.encryptMetadata(unhex(key), fields)"
        option = page.evaluate(write, [vector["key"], vector["fields"]])
        assert Metadata.decrypt(Key(bytes.fromhex(vector["key"])), option["metadata"]).json() == vector["fields"]
        # Each encryption has a salt of its own.
        assert page.evaluate(write, [vector["key"], vector["fields"]]) != option
    option = VECTORS["metadata"][0]["encryption"]
    for changed in ("", "A", option["metadata"][:-1], option["metadata"][:-4], "B" + option["metadata"][1:], "!"):
        asked = [KEY.secret.hex(), {**option, "metadata": changed}]
        refuse = "([key, option]) => refusal(() => format.decryptMetadata(unhex(key), option))"
        assert page.evaluate(refuse, asked) in {"key", "damaged", "cut"}
    unknown = [KEY.secret.hex(), {**option, "scheme": "another"}]
    assert page.evaluate(refuse, unknown) == "damaged"


@pytest.mark.parametrize(
    "fields",
    [b"", b"{", b"null", b"[]", b'{"original_name": 5}', b'{"original_name": ""}']
    + [
        b'{"original_name": "a", "entries": %b}' % entries for entries in (b"5", b"[null]", b"[{}]", b'[{"name": "b"}]')
    ],
)
def test_metadata_that_say_nothing_are_damaged(page: Page, fields: bytes) -> None:
    data = base64.urlsafe_b64encode(encrypt_all(KEY, new_salt(), METADATA_CONTEXT, fields)).rstrip(b"=").decode()
    option = {"scheme": VECTORS["metadata"][0]["encryption"]["scheme"], "metadata": data}
    refuse = "([key, option]) => refusal(() => format.decryptMetadata(unhex(key), option))"
    assert page.evaluate(refuse, [KEY.secret.hex(), option]) == "damaged"


def test_entries_that_do_not_fit_are_left_out(page: Page) -> None:
    entry = {"name": "photos/1.jpg", "size": 10**9, "modified": "2026-11-28T10:00:00Z"}
    for count, fits in ((60, True), (5000, False)):
        fields = {"original_name": "a.zip", "content_type": "application/zip", "file_size": 1}
        arguments = [KEY.secret.hex(), {**fields, "entries": [entry] * count}]
        option = page.evaluate("([key, fields]) => format.encryptMetadata(unhex(key), fields)", arguments)
        assert len(option["metadata"]) <= 8192
        assert len(base64.urlsafe_b64decode(option["metadata"] + "==")) > 72
        assert ("entries" in Metadata.decrypt(KEY, option["metadata"]).json()) is fits
