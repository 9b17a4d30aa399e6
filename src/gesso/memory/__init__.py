"""The planner: footprints of networks and the memory of a device become a plan. Arithmetic, no torch."""
