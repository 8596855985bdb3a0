"""An environment of its own for each peer: made once, kept in a folder, its packages from the configured index."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

INSTALL_LIMIT_S = 900


@dataclass(frozen=True, slots=True, eq=False)
class Peer:
    """``requirements`` in the order in which they are tried; ``unsupported`` and ``limits``: by scenario."""

    name: str
    script: str
    requirements: tuple[str, ...]
    unsupported: dict[str, str] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    routers: tuple[str, ...] = ("round_robin",)


@dataclass(frozen=True, slots=True)
class Environment:
    """``failed``: by requirement, why it could not be installed. No ``python``: none of them could."""

    python: Path | None
    installed: str | None
    failed: dict[str, str]


def environment(peer: Peer, folder: Path) -> Environment:
    """Give the peer's environment, made if it is not there; what failed is kept with it."""
    home = folder / f"{peer.name}-{'-'.join(peer.requirements)}".replace("=", "")
    record = home / "record.json"
    if not record.exists() or json.loads(record.read_text())["installed"] is None:
        shutil.rmtree(home, ignore_errors=True)
        failed: dict[str, str] = {}
        installed = next((what for what in peer.requirements if install(what, home, failed)), None)
        record.write_text(json.dumps({"installed": installed, "failed": failed}))
    said = json.loads(record.read_text())
    return Environment(home / "bin" / "python" if said["installed"] else None, said["installed"], said["failed"])


def install(requirement: str, home: Path, failed: dict[str, str]) -> bool:
    """Put the requirement into a fresh environment."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
    command = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", requirement]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        failed[requirement] = f"not installed after {INSTALL_LIMIT_S} s"
        return False
    if ran.returncode:
        failed[requirement] = last_words(ran.stderr or ran.stdout)
    return not ran.returncode


def last_words(text: str, characters: int = 1500) -> str:
    """Keep the end of what a program said: its error stands there."""
    return text.strip()[-characters:]
