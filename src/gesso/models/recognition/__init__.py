"""What a weights file is, concluded from the names and shapes of its tensors; never from its name or its size."""
