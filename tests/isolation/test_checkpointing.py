import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from taskodec.isolation.checkpointing import checkpointed


def test_checkpoints_of_one_thread_are_not_those_of_another():
    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.calls = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2), []

        def forward(self, x):
            self.calls.append(threading.get_ident())
            return self.two(self.one(x).relu())

    network = torch.nn.Sequential(Block())
    met = threading.Barrier(2)

    def run(spare):
        x = torch.rand(3, 2, requires_grad=True)
        if not spare:
            met.wait(20)
            network(x).sum().backward()
            met.wait(20)
            return network[0].calls.count(threading.get_ident())
        with checkpointed(network):
            met.wait(20)
            network(x).sum().backward()
            met.wait(20)
        return network[0].calls.count(threading.get_ident())

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(run, (True, False))) == [2, 1]
    assert "forward" not in vars(network[0])
