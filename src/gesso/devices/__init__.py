"""Accelerators and the CPU: one handler each answers what it is, what it can do and what memory it has."""
