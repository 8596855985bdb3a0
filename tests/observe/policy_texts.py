"""Policies that tests write to files."""

from pathlib import Path

import pytest

from aiops.observe.policies import PolicyError, read_policies

GOOD = """\
metadata: {name: chat, namespace: llm}
spec:
  model: llama
  pools:
    - {name: chat, target: {name: chat}, variant: h100}
variants:
  h100: {gpus: 2}
"""


def written(folder: Path, text: str | bytes, name: str = "chat.yaml") -> Path:
    file = folder / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def problems(*paths: Path) -> list[str]:
    """What is wrong, with the folder's own name left out."""
    with pytest.raises(PolicyError) as caught:
        read_policies(paths)
    return [str(problem).replace(f"{paths[0].parent}/", "") for problem in caught.value.problems]


def spec(*lines: str) -> str:
    """A good policy with lines added to its spec; the first of them is line 6."""
    head, tail = GOOD.split("variants:")
    return head + "".join(f"  {line}\n" for line in lines) + "variants:" + tail
