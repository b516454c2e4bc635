"""An open-set task: where a picture has text (PP-OCRv4's detector, DB of Liao et al. 2020, arXiv:1911.08947).

pip install rapidocr-onnxruntime onnx2torch   # 5 MB of weights, Apache-2.0
taskodec compress PHOTO.jpg --task docs/examples/text.py:Text --quality 2

Nobody's labels are needed: what counts is what the network sees in the original picture.
"""

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import taskodec
from taskodec.contracts import Findings, Found
from taskodec.errors import UsageError, WeightsError
from taskodec.tasks.agreement import AgreementEvaluator, Counts, binary_divergence, match

STRIDE = 32
"""The network takes sides that are multiples of this."""
NEEDED = "pip install rapidocr-onnxruntime onnx2torch"


@taskodec.hookimpl
def register_tasks() -> list[taskodec.TaskSpec]:
    """Makes `--plugin docs/examples/text.py --task text` work, and `pretrain` for it."""
    return [taskodec.TaskSpec("text", Text, "text as PP-OCRv4 finds it; weights: PyPI rapidocr-onnxruntime")]


class Text(taskodec.Task):
    """The detector must find in the decoded picture the text that it finds in the original.

    The loss is the Kullback-Leibler divergence of the probabilities that a pixel is text, in nats, mean over pixels.
    """

    name = "text"

    def __init__(self, weights: str | None = None, network: nn.Module | None = None) -> None:
        """`weights` is an ONNX file in place of the package's; `network` gives logits (1, 1, H, W) instead."""
        self.network = network or load_detector(Path(weights) if weights else package_file())
        self.network.eval().requires_grad_(False)

    @torch.no_grad()
    def prepare(self, x: Tensor) -> Tensor:
        return self._logits(x)

    def loss(self, x_hat: Tensor, reference: Tensor) -> Tensor:
        return binary_divergence(self._logits(x_hat), reference)

    @torch.no_grad()
    def count(self, x_hat: Tensor, x: Tensor) -> Counts:
        """Regions of text in both pictures (sharing half of their area), in the decoded one, and in the original."""
        found, wanted = (regions(self._logits(image).sigmoid()) for image in (x_hat.clamp(0, 1), x))
        return Counts(match(overlaps(found, wanted)), len(found), len(wanted))

    def metrics(self, x_hat: Tensor, x: Tensor) -> dict[str, float]:
        return {"text_f1": self.count(x_hat, x).f1}

    @torch.no_grad()
    def findings(self, x: Tensor) -> Findings:
        """Where there is text, for `taskodec report`."""
        found = self._logits(x.clamp(0, 1)).sigmoid()
        scale = torch.tensor([x.shape[3] / found.shape[3], x.shape[2] / found.shape[2]])
        outlines = [(torch.as_tensor(corners) * scale).tolist() for corners in regions(found)]
        return Findings([Found("text", outline=outline) for outline in outlines])

    def evaluator(self, labels: Path | None = None) -> AgreementEvaluator:
        return AgreementEvaluator(self.count, labels)

    def to(self, device: torch.device) -> "Text":
        self.network.to(device)
        return self

    def _logits(self, x: Tensor) -> Tensor:
        """(1, 3, H, W) to (1, 1, h, w): the picture is scaled to the nearest size that the network takes."""
        size = [max(STRIDE, round(side / STRIDE) * STRIDE) for side in x.shape[-2:]]
        bgr = F.interpolate(x, size, mode="bilinear", antialias=True).flip(1)
        logits: Tensor = self.network(2 * bgr - 1)
        return logits


def regions(probabilities: Tensor) -> list[Any]:
    """The quadrilaterals (4, 2) that RapidOCR makes of a map (1, 1, h, w), in the map's pixels."""
    try:
        from rapidocr_onnxruntime.ch_ppocr_det.utils import DBPostProcess
    except ImportError as error:
        raise UsageError(f"finding regions of text needs packages that are not installed: {NEEDED}") from error
    find = DBPostProcess(thresh=0.3, box_thresh=0.5, unclip_ratio=1.6, use_dilation=True)  # RapidOCR's configuration
    boxes, _ = find(probabilities.cpu().numpy(), tuple(probabilities.shape[-2:]))
    return list(boxes)


def overlaps(found: list[Any], wanted: list[Any]) -> Tensor:
    """(F, W) intersections over unions."""
    from shapely import Polygon  # RapidOCR brings it

    mine, theirs = ([Polygon(corners) for corners in quadrilaterals] for quadrilaterals in (found, wanted))
    rows = [[a.intersection(b).area / a.union(b).area for b in theirs] for a in mine]
    return torch.tensor(rows).reshape(len(mine), len(theirs))  # (F, W), also if one of them is 0


def load_detector(file: Path) -> nn.Module:
    """The network of an ONNX file, up to its logits; WeightsError if it cannot be had."""
    try:
        import onnx
        import onnxruntime
        from onnx2torch import convert
    except ImportError as error:
        raise UsageError(f"the text detector needs packages that are not installed: {NEEDED}") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # that the graph depends on this machine does not matter: it is not kept
    # onnx2torch needs constants in their place, which is what this level of onnxruntime's does
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        with tempfile.TemporaryDirectory() as folder:
            options.optimized_model_filepath = f"{folder}/folded.onnx"
            onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            model = onnx.load(options.optimized_model_filepath)
        without_sigmoid(model.graph)
        network: nn.Module = convert(model)
    except Exception as error:  # onnxruntime and onnx2torch have an error for every operation
        raise WeightsError(f"{file} cannot be read as a text detector: {type(error).__name__}: {error}") from error
    return network


def without_sigmoid(graph: Any) -> None:
    """End a graph before its last node: where the probability is 0 in 32 bits, it has no slope to follow."""
    (last,) = [node for node in graph.node if graph.output[0].name in node.output]
    if last.op_type != "Sigmoid":
        raise ValueError(f"its last node is {last.op_type}, expected Sigmoid")
    graph.output[0].name = last.input[0]
    graph.node.remove(last)


def package_file() -> Path:
    """The weights in the package rapidocr-onnxruntime."""
    found = importlib.util.find_spec("rapidocr_onnxruntime")
    if found is None or not found.submodule_search_locations:
        raise WeightsError(f"the weights of the text detector come with a package that is not installed: {NEEDED}")
    return Path(found.submodule_search_locations[0]) / "models" / "ch_PP-OCRv4_det_infer.onnx"
