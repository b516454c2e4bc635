"""What commands and long runs have in common with whoever watches them: progress, a clean stop, exit codes, escapes."""
