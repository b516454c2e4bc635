"""A task that wants pictures darker, and what judges it."""

from typing import ClassVar

from taskodec.contracts import Evaluator, Task


class Judge(Evaluator):
    """Keeps what it was shown."""

    metrics: ClassVar = {"brightness": True}

    def __init__(self, labels):
        self.labels = labels
        self.shown = []

    def observe(self, name, x_hat, x):
        self.shown.append((name, x_hat, x))
        return {"brightness": float(x_hat.mean()), "pair": (1, 2)}

    def summarise(self, records):
        return {"brightness": sum(record["brightness"] for record in records) / len(records)}


class Dark(Task):
    name = "dark"

    def prepare(self, x):
        return 0.5 * x

    def loss(self, x_hat, reference):
        return (x_hat - reference).square().mean()

    def evaluator(self, labels=None):
        return Judge(labels)
