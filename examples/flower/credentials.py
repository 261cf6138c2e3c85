"""A certificate for the relay, and a pair of keys for each node.

    python examples/flower/credentials.py --out credentials --host relay.example.org --nodes 3

ca.crt          goes to every node and to whoever starts runs: by it they know the relay
server.pem      the relay's certificate, with server.key: both stay on the relay
node-0, ...     a node's private key: goes to that node alone; node-0.pub is registered at the relay

Whoever has ca.key could make certificates, so it is not written. Needs `cryptography`, which Flower
brings along.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAYS = 365


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--host", required=True, help="name or address by which nodes call it")
    parser.add_argument("--nodes", type=int, required=True)
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"--out {options.out}: is there already; give a new folder")
    make(options.out, options.host, options.nodes)


def make(out: Path, host: str, nodes: int) -> None:
    out.mkdir(parents=True, mode=0o700)
    authority, server = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
    own = _certificate("understudy relay's authority", authority, None, authority)
    other = _certificate(host, server, own, authority)
    _write(out / "ca.crt", own.public_bytes(serialization.Encoding.PEM))
    _write(out / "server.pem", other.public_bytes(serialization.Encoding.PEM))
    _write(out / "server.key", _private(server, serialization.PrivateFormat.TraditionalOpenSSL))
    for number in range(nodes):
        key = ec.generate_private_key(ec.SECP384R1())
        _write(out / f"node-{number}", _private(key, serialization.PrivateFormat.OpenSSH))
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        _write(out / f"node-{number}.pub", public)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    signer: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """Of an authority, where there is no issuer; else of a server of that name."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        made = made.add_extension(x509.SubjectAlternativeName(_names(name)), critical=False)
    return made.sign(signer, hashes.SHA384())


def _names(host: str) -> list[x509.GeneralName]:
    try:
        return [x509.IPAddress(ipaddress.ip_address(host))]
    except ValueError:
        return [x509.DNSName(host)]


def _private(key: ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _write(path: Path, content: bytes) -> None:
    """For its owner alone."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


if __name__ == "__main__":
    main()
