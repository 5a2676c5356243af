"""Shipped for tests: the contract suite of each port and a virtual clock."""
