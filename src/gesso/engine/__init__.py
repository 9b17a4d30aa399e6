"""A request becomes a resolved request, pipeline threads, and pictures that carry their recipe."""
