"""A second pass over a picture at a larger size."""
