"""What plugins may provide, who has provided it, and how a function or a file becomes a task."""
