"""Who does the work of a batch: this process, or the workers of a Ray cluster. What is made is the same."""
