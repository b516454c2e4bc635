"""What an outside package looks like."""
