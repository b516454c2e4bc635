"""What a picture can be for: losses, metrics and their references. Networks live in `taskodec.plugins`."""
