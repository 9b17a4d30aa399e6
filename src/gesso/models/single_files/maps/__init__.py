"""The names of a network's tensors in the files of those who made it, and in diffusers: one map for both ways."""
