"""What the node drives: a package for each engine, unaware of the others."""
