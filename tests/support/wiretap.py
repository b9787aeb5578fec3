"""Who answers in a database's place: hears the password if the client lets them. On this machine only.

127.1 leads to the loopback and is not known to us as such, so it stands for a server elsewhere.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ELSEWHERE = "127.1"
_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104
_ASKS_FOR_THE_PASSWORD = b"R" + struct.pack("!ii", 8, 3)


@dataclass
class Wiretap:
    """A server of one answer. port: where; heard: all that came in a form that can be read; asked: requests."""

    port: int = 0
    heard: bytes = b""
    asked: list[str] = field(default_factory=list)

    def dsn(self, password: str, host: str = ELSEWHERE, **options: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in {"connect_timeout": "5", **options}.items())
        return f"postgresql://person:{password}@{host}:{self.port}/there?{query}"


@contextlib.contextmanager
def wiretap(certificate: Path | None = None) -> Iterator[Wiretap]:
    """One that says it has no TLS; or, with a certificate (and its key) in a file, has it. Asks for the password."""
    tap = Wiretap()
    with socket.create_server(("127.0.0.1", 0)) as server:
        tap.port = server.getsockname()[1]
        thread = threading.Thread(target=_serve, args=(server, tap, certificate), daemon=True)
        thread.start()
        try:
            yield tap
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@contextlib.contextmanager
def tls_before(port: int, certificate: Path) -> Iterator[int]:
    """TLS in front of a Postgres on this machine, as poolers have it; its port. (The tests' own builds have none.)"""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_accept, args=(server, context, port), daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def _accept(server: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with contextlib.ExitStack() as threads:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            thread = threading.Thread(target=_carry, args=(client, context, port), daemon=True)
            thread.start()
            threads.callback(thread.join, 5)


def _carry(client: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with client, contextlib.suppress(OSError):
        client.recv(8)  # the request for TLS
        client.sendall(b"S")
        with (
            context.wrap_socket(client, server_side=True) as inside,
            socket.create_connection(("127.0.0.1", port)) as behind,
        ):
            inside.settimeout(0.01)
            behind.settimeout(0.01)
            ways = ((inside, behind), (behind, inside))
            while all(_moved(*way) for way in ways):
                pass


def _moved(start: socket.socket, end: socket.socket) -> bool:
    """Whether that way is still open."""
    try:
        content = start.recv(65536)
    except TimeoutError:
        return True
    end.sendall(content)
    return bool(content)


def _serve(server: socket.socket, tap: Wiretap, certificate: Path | None) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        with client, contextlib.suppress(OSError, struct.error):  # they went away
            client.settimeout(5)
            _answer(client, tap, certificate)


def _answer(client: socket.socket, tap: Wiretap, certificate: Path | None) -> None:
    """Postgres' beginning: requests for encryption, the start, and then the password."""
    while True:
        (length,) = struct.unpack("!i", client.recv(4))
        first = client.recv(length - 4)
        code = struct.unpack("!i", first[:4])[0]
        if code not in (_SSL_REQUEST, _GSS_REQUEST):
            break
        tap.asked.append("ssl" if code == _SSL_REQUEST else "gss")
        if code == _SSL_REQUEST and certificate is not None:
            client.sendall(b"S")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            with context.wrap_socket(client, server_side=True) as inside:
                _answer(inside, tap, None)
            return
        client.sendall(b"N")
    tap.heard += first
    client.sendall(_ASKS_FOR_THE_PASSWORD)
    while more := client.recv(4096):
        tap.heard += more


def make_certificate(folder: Path, name: str, host: str = "127.0.0.1") -> Path:
    """A certificate for that address or name, its own CA, with its key in one file, which the owner alone may read."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    try:
        names: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        names = x509.DNSName(host)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.touch(0o600)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path
