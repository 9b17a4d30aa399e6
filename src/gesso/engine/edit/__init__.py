"""Pictures as input: read, brought to size, masked, and put back where nothing was to change."""
