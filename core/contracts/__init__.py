"""What a codec, an adapter and a task are: the contracts everything else is written against.

Data flows one way: `image → analysis → y, z → entropy model → stream → y_hat → synthesis → x_hat → task`.
Images are float tensors (B, 3, H, W), RGB in [0, 1].
"""

from taskodec.contracts.adapter import Adapter
from taskodec.contracts.codec import Codec, Side
from taskodec.contracts.earlier import EarlierWeights
from taskodec.contracts.evaluators import Evaluator, Record
from taskodec.contracts.export_parts import UNKNOWN_LICENCE, EncoderParts, ExportParts, Network
from taskodec.contracts.findings import Findings, Found
from taskodec.contracts.function_task import FunctionTask
from taskodec.contracts.joint_task import JointEvaluator, JointReference, JointTask, Part
from taskodec.contracts.latents import Annealed, CodecOutput, Entropy, Latents, Quality, Rounding, total_bits
from taskodec.contracts.task import TASK_LOSS, MeanEvaluator, Task
from taskodec.stream.grids import Tiling

__all__ = [
    "TASK_LOSS",
    "UNKNOWN_LICENCE",
    "Adapter",
    "Annealed",
    "Codec",
    "CodecOutput",
    "EarlierWeights",
    "EncoderParts",
    "Entropy",
    "Evaluator",
    "ExportParts",
    "Findings",
    "Found",
    "FunctionTask",
    "JointEvaluator",
    "JointReference",
    "JointTask",
    "Latents",
    "MeanEvaluator",
    "Network",
    "Part",
    "Quality",
    "Record",
    "Rounding",
    "Side",
    "Task",
    "Tiling",
    "total_bits",
]
