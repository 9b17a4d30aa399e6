"""Another model goes on with a picture for its last steps."""
