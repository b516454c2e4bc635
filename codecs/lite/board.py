"""The two colours of a checkerboard: the fields of one, close together in rows of half the width, and back."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["BLACK", "WHITE", "anchors", "fields", "in_reading_order", "on_board", "put_back"]

BLACK, WHITE = 0, 1
"""The colours: what the row and the column of a field add up to, modulo 2."""


def anchors(like: Tensor) -> Tensor:
    """Which positions of (…, h, w) are black, and coded first: boolean (h, w)."""
    height, width = like.shape[-2:]
    rows, columns = (torch.arange(n, device=like.device) for n in (height, width))
    return (rows[:, None] + columns) % 2 == BLACK


def fields(x: Tensor, colour: int) -> Tensor:
    """Those of one colour out of (…, h, w), w even: (…, h, w/2)."""
    out = torch.empty_like(x[..., ::2])
    out[..., 0::2, :] = x[..., 0::2, colour::2]
    out[..., 1::2, :] = x[..., 1::2, 1 - colour :: 2]
    return out


def on_board(values: Tensor, colour: int, board: Tensor | None = None) -> Tensor:
    """(…, h, w/2) back at the fields of their colour, in `board` (…, h, w) or among zeros."""
    if board is None:
        board = values.new_zeros(*values.shape[:-1], 2 * values.shape[-1])
    board[..., 0::2, colour::2] = values[..., 0::2, :]
    board[..., 1::2, 1 - colour :: 2] = values[..., 1::2, :]
    return board


def in_reading_order(x: Tensor, colour: int) -> Tensor:
    """The fields of one colour out of (…, h, w), of any size, row by row: (…, n)."""
    if x.shape[-1] % 2:
        return x[..., anchors(x) == (colour == BLACK)]
    return fields(x.contiguous(), colour).flatten(-2)  # (…, h, w/2) -> (…, n)


def put_back(values: Tensor, colour: int, board: Tensor) -> Tensor:
    """The board (…, h, w) with (…, n), in reading order, at the fields of their colour."""
    if board.shape[-1] % 2:
        board[..., anchors(board) == (colour == BLACK)] = values
        return board
    halved = values.reshape(*board.shape[:-1], board.shape[-1] // 2)  # (…, n) -> (…, h, w/2)
    return on_board(halved, colour, board)
