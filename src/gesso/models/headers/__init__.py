"""What a weights file says of itself: names, formats and shapes of its tensors, read without loading one of them."""
