"""Where the noise of a picture comes from: its source, the seed of its steps, and mixing the noise of two seeds."""
