"""Model folders: families as data, the store that finds them, what is in them, and how they are read."""
