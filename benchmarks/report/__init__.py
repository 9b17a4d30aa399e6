"""The page `docs/reference/benchmarks.md`, made from the raw figures and from nothing else."""
