"""Where a node refuses to listen, and what it needs for TLS."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tallystick.api.settings import Address
from tallystick.errors import UsageError
from tests.api.askers import tally
from tests.cli.runs import tally as run
from tests.node_process import serving, start


def test_nobody_listens_beyond_this_machine_without_credentials(tmp_path: Path) -> None:
    for listen in ("0.0.0.0:0", "[::]:0"):
        done = run("node", "start", "--listen", listen, cwd=tmp_path)
        done.refused(2, "nobody has credentials: make a token first")
    expired = tally(tmp_path / "home", "token", "create", "--scope", "reporter")
    tally(tmp_path / "home", "token", "revoke", expired["id"])
    run("node", "start", "--listen", "0.0.0.0:0", cwd=tmp_path).refused(2, "nobody has credentials")
    assert not (tmp_path / "home" / "node.json").exists()


@pytest.mark.parametrize("flag", [True, False], ids=["flag", "token"])
def test_beyond_this_machine_everybody_needs_credentials_this_machine_too(tmp_path: Path, *, flag: bool) -> None:
    home = tmp_path / "home"
    if not flag:
        tally(home, "token", "create", "--scope", "reporter")
    node = start(home, *(["--require-auth"] if flag else []), listen="0.0.0.0:0")
    try:
        assert httpx.get(f"{node.url}/health", headers={"host": "node.example"}, timeout=20).status_code == 200
        assert httpx.get(f"{node.url}/api/v1/jobs", timeout=20).status_code == 401
        assert "warning: tokens and pictures travel in clear" in node.said()
        assert len(tally(home, "token", "list")["tokens"]) == (not flag)
    finally:
        node.stop()


@pytest.mark.parametrize(
    "listen",
    ["nonsense", "127.0.0.1:x", "127.0.0.1:70000", "tally.example:80", "[::1", "[::1]7053", "::1:7053", "1.2.3"],
)
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        Address.parse(listen)


@pytest.mark.parametrize(
    ("listen", "host", "port", "loopback"),
    [
        ("127.0.0.1:7053", "127.0.0.1", 7053, True),
        ("127.0.0.1", "127.0.0.1", 7053, True),
        ("localhost:1", "127.0.0.1", 1, True),
        (":7", "127.0.0.1", 7, True),
        ("127.9.9.9:0", "127.9.9.9", 0, True),
        ("[::1]:7053", "::1", 7053, True),
        ("[::1]", "::1", 7053, True),
        ("0.0.0.0:7053", "0.0.0.0", 7053, False),  # noqa: S104 - read, not bound
        ("[::]:7053", "::", 7053, False),
        ("10.0.0.1:7053", "10.0.0.1", 7053, False),
    ],
)
def test_addresses_are_read(listen: str, host: str, port: int, *, loopback: bool) -> None:
    address = Address.parse(listen)
    assert (address.host, address.port, address.is_loopback) == (host, port, loopback)
    assert Address.parse(address.authority) == address


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    run("node", "start", "--listen", "192.0.2.1:0", "--require-auth", cwd=tmp_path).refused(2, "cannot be listened on")


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(now - dt.timedelta(days=1))
    builder = builder.not_valid_after(now + dt.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = builder.sign(key, hashes.SHA256())
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain),
    )
    return chain, secret


def test_tls_by_two_files(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    trusted = ssl.create_default_context(cafile=str(chain))
    with serving(tmp_path / "home", "--tls-cert", str(chain), "--tls-key", str(key), verify=str(chain)) as node:
        assert node.url.startswith("https://127.0.0.1:")
        with httpx.Client(verify=trusted, timeout=20) as http:
            assert http.get(f"https://localhost:{node.port}/health").status_code == 200
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://localhost:{node.port}/health", timeout=5)
        assert node.stop() == 0


def test_tls_that_cannot_be_is_refused_before_anything_listens(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, foreign = certificate(other)
    for files, words in (
        (("--tls-cert", chain), "go together"),
        (("--tls-key", key), "go together"),
        (("--tls-cert", chain, "--tls-key", foreign), "TLS cannot use"),
        (("--tls-cert", tmp_path / "none", "--tls-key", key), "TLS cannot use"),
        (("--tls-cert", key, "--tls-key", key), "TLS cannot use"),
    ):
        run("node", "start", "--listen", "127.0.0.1:0", *files, cwd=tmp_path).refused(2, words)


def test_the_node_file_is_private_and_gone_with_its_node(tmp_path: Path) -> None:
    file = tmp_path / "home" / "node.json"
    with serving(tmp_path / "home") as node:
        assert file.stat().st_mode & 0o777 == 0o600
        node.kill()
        assert file.exists()
        assert tally(tmp_path / "home", "token", "list") == {"tokens": []}
    with serving(tmp_path / "home") as node:
        assert node.stop() == 0
    assert not file.exists()
