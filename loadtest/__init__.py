"""Load tests: a generator that checks what it receives, and the floor to compare with."""
