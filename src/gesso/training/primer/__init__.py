"""How the weights of the primer are trained: renders of its world, encoded once, and a loop that can be interrupted."""
