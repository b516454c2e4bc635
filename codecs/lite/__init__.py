"""`lite`, the default codec: its networks in floats and in integers, its coding, its export."""
