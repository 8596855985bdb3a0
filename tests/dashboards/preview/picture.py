"""Pictures of the pages, taken by a real Chromium and written with few colours, since they live in the repository."""

import base64
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.console.browser import Tab, chromium
from tests.dashboards.preview.page import WIDTH_PX, page

Json = dict[str, Any]
_COLORS = 256
_PIXELS = """
new Promise(done => {
  const image = new Image()
  image.onload = () => {
    const canvas = document.createElement('canvas')
    canvas.width = image.width; canvas.height = image.height
    const context = canvas.getContext('2d')
    context.drawImage(image, 0, 0)
    const data = context.getImageData(0, 0, image.width, image.height).data
    let text = ''
    for (let i = 0; i < data.length; i += 30000) text += String.fromCharCode(...data.subarray(i, i + 30000))
    done([image.width, image.height, btoa(text)])
  }
  image.src = 'data:image/png;base64,PNG'
})
"""


def photograph(
    dashboards: Mapping[str, Json], shown: Iterable[Json], out: Path, scratch: Path, about: str
) -> Iterator[Path]:
    """Write ``preview-NAME.png`` for each dashboard that was evaluated."""
    out.mkdir(parents=True, exist_ok=True)
    with chromium(scratch) as tab:
        for one in shown:
            file = scratch / f"{one['uid']}.html"
            file.write_text(page(dashboards[one["uid"]], one, about), encoding="utf-8")
            tab.open(file.as_uri(), width=WIDTH_PX)
            path = out / f"preview-{one['uid'].removeprefix('aiops-')}.png"
            path.write_bytes(indexed_png(_pixels(tab)))
            yield path


def _pixels(tab: Tab) -> NDArray[np.uint8]:
    """The whole page, as rows of red, green and blue."""
    height = tab.evaluate("document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": WIDTH_PX, "height": height, "scale": 1}
    shot = tab.command("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
    answer = tab.command(
        "Runtime.evaluate", expression=_PIXELS.replace("PNG", shot), returnByValue=True, awaitPromise=True
    )
    wide, high, data = answer["result"]["value"]
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(high, wide, 4)[:, :, :3]


def indexed_png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG with the means of the fullest bins of colours; what is in no such bin becomes the nearest of them."""
    high, wide, _ = pixels.shape
    flat = pixels.reshape(-1, 3).astype(int)
    coarse = flat >> 2
    _, bins, counts = np.unique(
        coarse[:, 0] << 12 | coarse[:, 1] << 6 | coarse[:, 2], return_inverse=True, return_counts=True
    )
    means = np.stack([np.bincount(bins, flat[:, channel]) for channel in range(3)], axis=1) / counts[:, None]
    palette = means[np.argsort(counts)[::-1][:_COLORS]].round()
    nearest = ((means[:, None, :] - palette[None, :, :]) ** 2).sum(axis=2).argmin(axis=1).astype(np.uint8)
    indices = nearest[bins].reshape(high, wide)
    rows = np.zeros((high, wide + 1), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = indices
    head = struct.pack(">IIBBBBB", wide, high, 8, 3, 0, 0, 0)
    parts = (
        (b"IHDR", head),
        (b"PLTE", palette.astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in (*parts, (b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
