"""Hostile plugins: a file with a codec, an adapter and a task, of which some things are not as they should be."""

from __future__ import annotations

import random

__all__ = ["plugin"]

TEMPLATE = """
import torch
from torch import nn

import taskodec
from taskodec import Adapter, Codec, Entropy, Latents, Task
from taskodec.hooks.specs import AdapterSpec, AnchorSpec, CodecSpec, TaskSpec, hookimpl
from taskodec.stream.grids import Tiling
from taskodec.coding.priors import decode_gaussian, encode_gaussian, estimate_gaussian


class Strange(Codec):
    name = {name}
    stride = {stride}
    qualities = {qualities}
    continuous = {continuous}
    tiling = {tiling}

    def __init__(self):
        super().__init__()
        self.g_a = nn.Conv2d(3, 4, 4, stride=4, bias=False)
        self.g_s = nn.ConvTranspose2d(4, 3, 4, stride=4, bias=False)

    def lmbda(self, quality):
        return {lmbda}

    def analysis(self, x, quality):
        return {analysis}

    def prior(self, y):
        return torch.ones(1, 4, *y), torch.zeros(1, 4, *y)

    def entropy(self, latents, quality, rounding):
        y_hat, likelihoods = estimate_gaussian(latents.y, *self.prior(latents.y.shape[2:]), rounding)
        return {entropy}

    def synthesis(self, y_hat, quality):
        return {synthesis}

    def encode(self, latents, quality, coder):
        return {encode}

    def decode(self, size, quality, coder):
        return {decode}

    def adapter_layers(self, side):
        return {layers}


class Odd(Adapter):
    kind = {kind}

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(3))

    def attach(self, codec): ...

    def detach(self): ...

    def adapter_params(self, side):
        return {params}

    delta_groups = {groups}

    def set_delta(self, delta): ...

    def fingerprint(self):
        return {fingerprint}


class Peculiar(Task):
    name = {task_name}

    def prepare(self, x):
        return {prepare}

    def loss(self, x_hat, reference):
        return {loss}

    def lmbda(self, codec, quality):
        return {weight}

    def metrics(self, x_hat, x):
        return {metrics}

    def to(self, device):
        return {to}


@hookimpl
def register_codecs({argument}):
    return {codecs}


@hookimpl
def register_adapters():
    return {adapters}


@hookimpl
def register_tasks():
    return {tasks}
"""

WRONG = (
    *(
        "5",
        "None",
        "'x'",
        "[]",
        "{}",
        "()",
        "-1",
        "0",
        "2**31",
        "float('nan')",
        "float('inf')",
        "True",
        "b'x'",
        "object()",
    ),
    *("1 / 0", "undefined", "nn.Identity()", "torch.zeros(2)", "torch.zeros(1, 4, 3, 3)", "[1, 0]", "['a']", "Strange"),
    *(
        "lambda: 5",
        "print",
        "(i for i in [1])",
        "exit(3)",
        "{1: 2}",
        "'\\x1b[31m'",
        "torch.full((1, 3, 64, 64), float('nan'))",
    ),
)

RIGHT = {
    "name": "'strange'",
    "stride": "4",
    "qualities": "(1, 2, 3)",
    "continuous": "False",
    "tiling": "None",
    "lmbda": "0.01",
    "analysis": "Latents(self.g_a(x))",
    "entropy": "Entropy(y_hat, {'y': likelihoods})",
    "synthesis": "self.g_s(y_hat)",
    "encode": "encode_gaussian(latents.y, *self.prior(latents.y.shape[2:]), coder)",
    "decode": "decode_gaussian(*self.prior((size[0] // 4, size[1] // 4)), coder)",
    "layers": "{'g_a': self.g_a} if side == 'encoder' else {'g_s': self.g_s}",
    "kind": "'odd'",
    "params": "['gain']",
    "groups": "(3,)",
    "fingerprint": "b'abcd'",
    "task_name": "'peculiar'",
    "prepare": "x",
    "loss": "(x_hat - reference).square().mean()",
    "weight": "1.0",
    "metrics": "{'a': 1.0}",
    "to": "self",
    "argument": "",
    "codecs": "[CodecSpec('strange', lambda quality=1: Strange(), 'x')]",
    "adapters": "[AdapterSpec('odd', lambda codec: Odd(), 'x')]",
    "tasks": "[TaskSpec('peculiar', Peculiar, 'x')]",
}

SPECS = {
    "codecs": ("CodecSpec({}, {}, {}, {})", ("'strange'", "lambda quality=1: Strange()", "'x'", "0")),
    "adapters": ("AdapterSpec({}, {}, {}, {}, {}, {})", ("'odd'", "lambda codec: Odd()", "'x'", "None", "None", "{}")),
    "tasks": ("TaskSpec({}, {}, {})", ("'peculiar'", "Peculiar", "'x'")),
}


def plugin(rng: random.Random) -> bytes:
    """The source of a plugin file."""
    values = dict(RIGHT)
    for name in rng.sample(sorted(RIGHT), rng.choice((1, 1, 2, 3))):
        if name == "argument":
            values[name] = rng.choice(("codec", "*, x", "registry=None", "*args"))
        elif name in SPECS and rng.random() < 0.6:
            form, fields = SPECS[name]
            given = [rng.choice(WRONG) if rng.random() < 0.4 else field for field in fields]
            if rng.random() < 0.5:
                given[1] = rng.choice(
                    (f"lambda *a, **k: {rng.choice(WRONG)}", "'nowhere:x'", "'os:path'", "'os:nope'", "''")
                )
            values[name] = f"[{form.format(*given)}]"
        else:
            values[name] = rng.choice(WRONG)
    source = TEMPLATE
    for name, value in values.items():
        source = source.replace("{" + name + "}", value)
    return source.encode()
