"""What Gesso gains and loses against the plain alternatives, as ratios from one run: `make bench`."""
