"""Runtimes that execute one network."""
