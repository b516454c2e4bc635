"""Switches of the process, set for a while."""

import contextlib

import torch


@contextlib.contextmanager
def put(read, write, value):
    """A switch set to a value for as long as this lasts."""
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


def dtype(value):
    return put(torch.get_default_dtype, torch.set_default_dtype, value)
