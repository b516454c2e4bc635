"""Pictures in and out: pixels and tensors, the part that is used, sets of files, and figures of fidelity."""
