"""One cycle's input in a file: a snapshot and the state it met, to be replayed."""

import gzip
import zlib
from pathlib import Path

from aiops.model import codec
from aiops.plan import Recording

_VERSION = 1
_MOST_BYTES = 512 * 1024 * 1024


class RecordingError(ValueError):
    """A file that holds no recording; the message names it and says why."""


def write_recording(path: Path, recording: Recording) -> None:
    """Write a recording, gzipped JSON; a file that was there is replaced in one move, never half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    # No time stamp in the header: the same recording gives the same bytes.
    partial.write_bytes(gzip.compress(codec.encode(recording), mtime=0))
    partial.replace(path)


def read_recording(path: Path) -> Recording:
    """Read a recording, gzipped or plain.

    Raises RecordingError where the file is missing, is no recording, or was written by another version.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            with gzip.open(path) as stream:
                content = stream.read(_MOST_BYTES)
        recording = codec.decode(Recording, content)
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError, zlib.error) as error:
        raise RecordingError(f"{path}: {error}; make one with: aiops plan --record FILE") from error
    if recording.version != _VERSION:
        raise RecordingError(f"{path}: version {recording.version}; this aiops reads version {_VERSION}")
    return recording
