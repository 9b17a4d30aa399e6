"""Well-known bases as data: where each is, what it was trained for, and what fits it."""
