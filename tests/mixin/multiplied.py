"""A scrape of a small factory made to one of a fleet: replicas as often as wanted, each with all of its series.

What a query costs hangs on how many series there are, and not on what they say.
"""

from collections.abc import Iterable, Iterator, Mapping

from tests.mixin.recording import Page

_POD_JOBS = ("kube-state-metrics", "dcgm-exporter", "epp")


def multiplied(pages: Iterable[Page], copies: Mapping[str, int]) -> Iterator[Page]:
    """The pages of a fleet in which each pod of ``copies`` is there so many times more, by its name and a number."""
    for page in pages:
        pod = page.labels.get("pod", "")
        if page.labels["job"] == "vllm" and pod in copies:
            yield page
            yield from (_renamed(page, pod, number) for number in range(copies[pod]))
        elif page.labels["job"] in _POD_JOBS and page.text is not None:
            yield Page(page.labels, page.text + "".join(_lines(page.text, copies)))
        else:
            yield page


def _renamed(page: Page, pod: str, number: int) -> Page:
    labels = {name: value.replace(pod, f"{pod}-{number}") for name, value in page.labels.items()}
    return Page(labels, page.text)


def _lines(text: str, copies: Mapping[str, int]) -> Iterator[str]:
    """The lines of a page that tell of a pod, once more for each of its copies."""
    for line in text.splitlines():
        pod = next((pod for pod in copies if f'"{pod}"' in line), None)
        if pod is not None and not line.startswith("#"):
            # A GPU belongs to one pod, so that a copy of the pod has another.
            before, after = line.replace('UUID="GPU-', 'UUID="GPU-{}-').split(f'"{pod}"', 1)
            yield from (
                f'{before.replace("GPU-{}-", f"GPU-{number}-")}"{pod}-{number}"{after}\n'
                for number in range(copies[pod])
            )
