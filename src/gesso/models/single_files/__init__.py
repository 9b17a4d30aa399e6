"""Models in one file: how their tensors are named, read as a model folder is read, and converted both ways."""
