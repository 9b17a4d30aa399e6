"""The index of weight files: which there are, what they are and how they are called. A cache: the disk is the truth."""
