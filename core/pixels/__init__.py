"""Picture files as pixels: formats, limits, colour, orientation, and what lies beside the picture in its file.

numpy and Pillow, never torch: the runtime reads pictures with it too.
"""
