"""Where passwords and tokens go: only to the user's own server."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.client.inprocess import FILE_ID, Share, answer, description
from tests.client.proxy import Answer, Proxy, Seen
from tests.wire.server import Server

MIB = 1024 * 1024
SECRETS = ("authorization", "x-password", "x-delete-token")


def has_secret(seen: Seen) -> bool:
    return any(name in seen.headers for name in SECRETS)


@pytest.fixture
def elsewhere() -> Iterator[Proxy]:
    """A foreign server to which a link leads."""
    with Proxy(1) as proxy:
        said = description(proxy.address, password_protected=True)
        proxy.before = lambda seen: answer(b"") if seen.is_download else answer(said)
        yield proxy


def test_the_password_of_the_environment_goes_to_the_own_server_only(share: Share, elsewhere: Proxy) -> None:
    link = f"{elsewhere.address}/download/{FILE_ID}"
    for own in (share.server, ""):
        ended = share.run("down", link, SHARE_PASSWORD="secret", SHARE_SERVER=own)
        assert ended.code == 5
        assert ended.err == (
            "error: This file needs a password. SHARE_PASSWORD is sent to your own server only. "
            f"To send it to {elsewhere.address}, add --server {elsewhere.address}.\n"
        )
    assert not [seen for seen in elsewhere.seen if seen.is_download or has_secret(seen)]
    agreed = share.run("down", link, "--server", elsewhere.address, SHARE_PASSWORD="secret")
    assert agreed.code == 0, agreed.err
    assert [seen.headers["authorization"] for seen in elsewhere.seen if seen.is_download] == ["Basic OnNlY3JldA=="]


@pytest.mark.parametrize("password", ["", " secret", "sec\nret", "sec\x01ret", "sec\udce9ret"])
def test_a_password_that_a_header_cannot_carry_is_not_sent(share: Share, hostile: Proxy, password: str) -> None:
    ended = share.run("up", "-", "--password", SHARE_PASSWORD=password)
    assert (ended.code, ended.err.startswith("error: The password ")) == (2, True)
    assert hostile.seen == []


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "share")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("authority") / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.fixture
def secure(server: Server, authority: Path) -> Iterator[Proxy]:
    """The server with HTTPS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    with Proxy(server.port, context) as proxy:
        yield proxy


def redirect(address: str) -> Answer:
    return 301, {"Location": address}, b"<html>"


def test_http_that_redirects_to_https_is_followed(share: Share, hostile: Proxy, secure: Proxy, authority: Path) -> None:
    hostile.before = lambda seen: redirect(f"{secure.address}{seen.target}")
    Path("large.bin").write_bytes(bytes(5 * MIB))
    environment = {"SSL_CERT_FILE": str(authority), "SHARE_TOKEN": "token", "SHARE_PASSWORD": "secret"}
    share = dataclasses.replace(share, environment=environment)
    for arguments, size in ((("up", "-"), 5), (("up", "large.bin"), 5 * MIB)):
        sent = share.run(*arguments, "--password", "--json", data=b"hello")
        assert sent.code == 0, sent.err
        file_id = json.loads(sent.out)["file_id"]
        assert sent.err == (
            f"warning: {share.server} redirects to {secure.address}. Use that address: http is not encrypted.\n"
        )
        for command in (("info", file_id), ("ls",), ("down", file_id, "-o", file_id)):
            ended = share.run(*command)
            assert ended.code == 0, ended.err
        assert Path(file_id).stat().st_size == size
        assert share.run("rm", f"{secure.address}/download/{file_id}").code == 0
    assert not list((share.home / ".config/simple-file-sharing/uploads").iterdir())
    assert [seen for seen in secure.seen if has_secret(seen)]


@pytest.mark.parametrize("command", [("up", "-"), ("info", FILE_ID), ("ls",), ("rm", FILE_ID, "--token", "t")])
@pytest.mark.parametrize("port", ["another", "same"])
def test_any_other_redirect_is_named_and_not_followed(
    share: Share, hostile: Proxy, elsewhere: Proxy, command: tuple[str, ...], port: str
) -> None:
    address = elsewhere.address if port == "another" else f"{hostile.address}/elsewhere"
    hostile.before = lambda seen: redirect(f"{address}{seen.target}")
    ended = share.run(*command, SHARE_TOKEN="token")
    assert ended.code == 9
    assert f"The server redirects to {address}/file/" in ended.err
    assert elsewhere.seen == []
    assert len(hostile.seen) == 1


def test_a_redirect_to_https_of_another_host_is_not_followed(share: Share, hostile: Proxy, secure: Proxy) -> None:
    other = secure.address.replace("127.0.0.1", "localhost")
    hostile.before = lambda seen: redirect(f"{other}{seen.target}")
    assert share.run("up", "-", SHARE_TOKEN="token").code == 9
    assert secure.seen == []


@pytest.mark.parametrize("location", ["http://[::1", "file:///etc/passwd", "\x1b]0;x"])
def test_a_redirect_to_no_address_is_refused(share: Share, hostile: Proxy, location: str) -> None:
    said = description(share.server)
    hostile.before = lambda seen: redirect(location) if seen.is_download else answer(said)
    ended = share.run("down", FILE_ID)
    assert ended.code == 9
    hostile.before = lambda _seen: redirect(location)
    ended = share.run("ls")
    assert (ended.code, "\x1b" in ended.err) == (9, False)


def test_a_certificate_that_is_not_trusted_is_named(
    share: Share, secure: Proxy, authority: Path, tmp_path: Path
) -> None:
    untrusted = share.run("ls", "--server", secure.address)
    assert untrusted.code == 7
    assert f"The certificate of {secure.address} is not trusted: self-signed certificate." in untrusted.err
    assert "SSL_CERT_FILE" in untrusted.err
    assert share.run("ls", "--server", secure.address, SSL_CERT_FILE=str(authority)).code == 0
    (tmp_path / "empty.pem").write_bytes(b"")
    for path in ("no such file", str(tmp_path / "empty.pem")):
        wrong = share.run("ls", "--server", secure.address, SSL_CERT_FILE=path)
        assert (wrong.code, "SSL_CERT_FILE" in wrong.err) == (2, True)
