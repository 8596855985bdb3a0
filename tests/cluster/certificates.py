import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.build import MissingPart

_ELLIPTIC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-batch"]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, as files in PEM."""

    certificate: Path
    key: Path


def authority(folder: Path, name: str) -> KeyPair:
    """A certificate authority of its own."""
    return _made(folder, name, ["-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"])


def signed(folder: Path, name: str, by: KeyPair, *, alternative_names: Sequence[str] = ()) -> KeyPair:
    """A certificate that ``by`` signed: for a server with ``alternative_names`` (``IP:…``, ``DNS:…``), else a client's.

    The name is the common name too, which the API server takes for the user's.
    """
    # Servers of one service show their certificates to each other, so theirs are good for both.
    use = "serverAuth,clientAuth" if alternative_names else "clientAuth"
    options = ["-CA", str(by.certificate), "-CAkey", str(by.key), "-addext", f"extendedKeyUsage={use}"]
    options += ["-addext", "basicConstraints=critical,CA:FALSE"]
    if alternative_names:
        options += ["-addext", f"subjectAltName={','.join(alternative_names)}"]
    return _made(folder, name, options)


def _made(folder: Path, name: str, options: list[str]) -> KeyPair:
    openssl = shutil.which("openssl")
    if openssl is None:
        raise MissingPart("openssl is not installed; on Debian: apt-get install openssl")
    pair = KeyPair(folder / f"{name}.crt", folder / f"{name}.key")
    files = ["-keyout", str(pair.key), "-out", str(pair.certificate)]
    done = subprocess.run(
        [openssl, "req", "-x509", *_ELLIPTIC, "-subj", f"/CN={name}", *options, *files],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"openssl could not make the certificate {name}:\n{done.stderr}")
    return pair
