"""Logs, metrics and watched tasks."""
