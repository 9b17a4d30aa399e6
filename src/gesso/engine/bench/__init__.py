"""Measuring what sharing forwards is worth on a machine; used by `gesso bench` and by the benchmarks of the project."""
