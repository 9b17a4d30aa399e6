"""Samplers: the table of names, the scheduler of one picture, and the seam at which it is watched."""
