"""Keys of keypairs: reading what users import, and making RSA keys and certificates for those who ask for one.

Making an RSA key takes about 100 ms of CPU: callers do it in a thread.
"""

import base64
import hashlib
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from hagane.errors import Invalid

BITS = 2048
_UPN = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")  # the Windows name of the user, where WinRM looks for it


def _colons(digest: str) -> str:
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))


def ssh_fingerprint(public_key: str) -> str:
    """MD5 of an OpenSSH public key, as the compute API shows it. Raises Invalid."""
    try:
        parts = public_key.split(" ")
        blob = base64.b64decode(parts[1])
        serialization.load_ssh_public_key(public_key.encode())
    except (ValueError, IndexError, UnsupportedAlgorithm) as error:
        raise Invalid("Keypair data is invalid: failed to generate fingerprint") from error
    return _colons(hashlib.md5(blob, usedforsecurity=False).hexdigest())


def x509_fingerprint(pem: str) -> str:
    """SHA-1 of a certificate. Raises Invalid."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise Invalid(
            f"Keypair data is invalid: failed to generate X509 fingerprint. Error message: {error}"
        ) from error
    return _colons(certificate.fingerprint(hashes.SHA1()).hex())


def fingerprint(public_key: str, kind: str) -> str:
    return x509_fingerprint(public_key) if kind == "x509" else ssh_fingerprint(public_key)


def make_ssh() -> tuple[str, str]:
    """(private, public) of a new RSA key."""
    key = rsa.generate_private_key(65537, BITS)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return _pem(key, serialization.PrivateFormat.TraditionalOpenSSL), public.decode() + " Generated-by-Nova"


def make_x509(user_id: str) -> tuple[str, str]:
    """(private, certificate): a self-signed client certificate, with which its holder logs in over WinRM."""
    key = rsa.generate_private_key(65537, BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user_id)])
    now = datetime.now(UTC)
    upn = x509.OtherName(_UPN, _utf8(f"{user_id}@localhost"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([upn]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pem(key, serialization.PrivateFormat.PKCS8), certificate.public_bytes(serialization.Encoding.PEM).decode()


def _pem(key: rsa.RSAPrivateKey, form: serialization.PrivateFormat) -> str:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def _utf8(text: str) -> bytes:
    """A DER UTF8String of less than 64 KiB."""
    data = text.encode()
    size = len(data)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return b"\x0c" + length + data


def make(kind: str, user_id: str) -> tuple[str, str]:
    return make_x509(user_id) if kind == "x509" else make_ssh()
