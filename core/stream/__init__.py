"""What is in a `.tkd` file, byte by byte: container, entropy coding, integer tables, guard and recipes.

numpy alone, never torch: the runtime is made of it.
"""
