"""The alternatives that are compared, each a process of its own: `python -m benchmarks.arms`."""
