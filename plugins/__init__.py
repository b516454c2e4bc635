"""Shipped plugins: a task with its network, each registered through the public hooks."""
