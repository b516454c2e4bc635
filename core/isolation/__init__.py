"""One call does not disturb another: PyTorch's switches, random numbers, adapters in effect, who may use a codec.

Whatever the caller, another thread, or somebody's loss has set, bytes and pictures are the same.
"""
