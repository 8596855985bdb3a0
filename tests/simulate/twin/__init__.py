"""A plain Python twin of vLLM's scheduler, and of a fleet on it that takes every step one by one."""
