"""Tradewire: the messaging backend of a marketplace."""
