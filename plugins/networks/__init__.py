"""The networks behind the shipped tasks, and where their weights come from."""
