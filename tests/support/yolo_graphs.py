"""Small graphs with the heads of the YOLO family with masks, and what they compute, in torch."""

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional as F

STRIDES = (8, 16, 32)
CLASSES, COEFFICIENTS = 3, 4
NAMES = ("output0", "output1")


class YoloGraph:
    """A head on one convolution a level: boxes around their cells, sigmoid scores, coefficients; and prototypes.

    `anchors` a cell, three of which come with an objectness. `size` (H, W), or None for a graph of any size,
    whose boxes then know nothing of their cells.
    """

    def __init__(self, anchors=1, size=(64, 96), relative=False, seed=0):
        self.anchors, self.size, self.relative = anchors, size, relative
        self.numbers = 4 + (anchors == 3) + CLASSES + COEFFICIENTS
        draw = torch.Generator().manual_seed(seed)
        self.convs = [0.1 * torch.randn(anchors * self.numbers, 3, s, s, generator=draw) for s in STRIDES]
        self.masks = torch.randn(COEFFICIENTS, 3, 4, 4, generator=draw)
        self.cells = self._cells() if size else torch.zeros(1)

    def _cells(self):
        """Corners of the cells in pixels, (1, A, 2), in the order of the rows."""
        found = []
        for s in STRIDES:
            y, x = torch.meshgrid(torch.arange(self.size[0] // s), torch.arange(self.size[1] // s), indexing="ij")
            found += [torch.stack([x, y], -1).flatten(0, 1) * float(s)] * self.anchors
        return torch.cat(found)[None]

    def __call__(self, x):
        """Boxes as middle and size in pixels, scores, coefficients, and prototypes, of x (1, 3, H, W)."""
        rows = []
        for weight, stride in zip(self.convs, STRIDES, strict=True):
            level = F.conv2d(x, weight, stride=stride).flatten(2)  # (1, n C, cells)
            rows.append(level.view(1, self.anchors, self.numbers, -1).transpose(2, 3).flatten(1, 2))
        found = torch.cat(rows, 1)
        middle, sides = 16 * found[..., :2].sigmoid() + self.cells, 24 * found[..., 2:4].sigmoid()
        first = self.numbers - CLASSES - COEFFICIENTS
        scores = found[..., first : first + CLASSES].sigmoid()
        if self.anchors == 3:
            scores = scores * found[..., 4:5].sigmoid()
        boxes = torch.cat([middle, sides], -1)
        return boxes, scores, found[..., -COEFFICIENTS:], F.conv2d(x, self.masks, stride=4)

    def write(
        self,
        path,
        *,
        turned=False,
        first="predictions",
        names=NAMES,
        nhwc=False,
        more=(),
        written=None,
    ):
        """As a file: predictions (1, C, A) if `turned`; which end is `first`; all channels last if `nhwc`.

        `more` nodes may follow, and `written` has properties that an exporter wrote.
        """
        weights = {f"conv{i}": weight for i, weight in enumerate(self.convs)}
        weights |= {"masks": self.masks, "cells": self.cells, "sixteen": torch.tensor(16.0), "side": torch.tensor(24.0)}
        high, wide = self.size or (1, 1)
        weights["scale"] = torch.tensor([wide, high] * 2 if self.relative else [1] * 4).float()
        tensors = [numpy_helper.from_array(value.numpy(), name) for name, value in weights.items()]
        tensors += [
            helper.make_tensor("split", TensorProto.INT64, [3], [2, 2, self.numbers - 4]),
            helper.make_tensor("parts", TensorProto.INT64, [2], [self.numbers - 4 - COEFFICIENTS, COEFFICIENTS]),
            helper.make_tensor("apart", TensorProto.INT64, [4], [1, self.anchors, self.numbers, -1]),
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
            helper.make_tensor("rows", TensorProto.INT64, [3], [1, -1, self.numbers]),
        ]
        names = dict(zip(("predictions", "prototypes"), names, strict=True))
        nodes = [*self._nodes(names, turned, nhwc), *more]
        sides = list(self.size or ("h", "w"))
        entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *sides, 3] if nhwc else [1, 3, *sides])
        ranks = {"predictions": 3, "prototypes": 4}
        ends = sorted(ranks, key=lambda end: end != first)
        outs = [
            helper.make_tensor_value_info(names[end], TensorProto.FLOAT, [f"{end}{i}" for i in range(ranks[end])])
            for end in ends
        ]
        graph = helper.make_graph(nodes, "yolo", [entry], outs, initializer=tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        helper.set_model_props(model, {key: str(value) for key, value in (written or {}).items()})
        onnx.save(model, path)
        return path

    def _nodes(self, names, turned, nhwc):
        node = helper.make_node
        x = "turned_x" if nhwc else "x"
        nodes = [node("Transpose", ["x"], [x], perm=[0, 3, 1, 2])] if nhwc else []
        for i, stride in enumerate(STRIDES):
            nodes += [
                node("Conv", [x, f"conv{i}"], [f"level{i}"], strides=[stride, stride]),
                node("Reshape", [f"level{i}", "apart"], [f"apart{i}"]),
                node("Transpose", [f"apart{i}"], [f"turned{i}"], perm=[0, 1, 3, 2]),
                node("Reshape", [f"turned{i}", "rows"], [f"rows{i}"]),
            ]
        joined = "joined" if turned else names["predictions"]
        nodes += [
            node("Concat", [f"rows{i}" for i in range(3)], ["raw"], axis=1),
            node("Split", ["raw", "split"], ["raw_middle", "raw_sides", "raw_rest"], axis=2),
            node("Sigmoid", ["raw_middle"], ["in_cell"]),
            node("Mul", ["in_cell", "sixteen"], ["moved"]),
            node("Add", ["moved", "cells"], ["middle"]),
            node("Sigmoid", ["raw_sides"], ["of_side"]),
            node("Mul", ["of_side", "side"], ["sides"]),
            node("Concat", ["middle", "sides"], ["pixels"], axis=2),
            node("Div", ["pixels", "scale"], ["boxes"]),
            node("Split", ["raw_rest", "parts"], ["raw_scores", "coefficients"], axis=2),
            node("Sigmoid", ["raw_scores"], ["scores"]),
            node("Concat", ["boxes", "scores", "coefficients"], [joined], axis=2),
        ]
        if turned:
            nodes.append(node("Transpose", ["joined"], [names["predictions"]], perm=[0, 2, 1]))
        maps = "maps" if nhwc else names["prototypes"]
        nodes.append(node("Conv", [x, "masks"], [maps], strides=[4, 4]))
        if nhwc:
            nodes.append(node("Transpose", ["maps"], [names["prototypes"]], perm=[0, 2, 3, 1]))
        return nodes
