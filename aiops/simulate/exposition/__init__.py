"""What Prometheus would scrape of a real fleet, written from a simulated one: engines, router, GPUs and Kubernetes."""

from aiops.simulate.exposition.vllm import exposition

__all__ = ["exposition"]
