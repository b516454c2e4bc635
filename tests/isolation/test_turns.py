"""Who computes in the clean state, and who waits for whom."""

import os
import threading

import pytest
import torch
from switches import dtype, put

from taskodec.errors import UsageError
from taskodec.isolation.ambient import clean, in_clean_state, kept


def test_a_generator_computes_in_the_clean_state_and_its_caller_does_not():
    @in_clean_state
    def steps():
        for _ in range(2):
            yield torch.is_grad_enabled()

    with torch.no_grad():
        for clean_inside in steps():
            assert clean_inside
            assert not torch.is_grad_enabled()


def test_threads_take_turns_where_a_switch_of_the_process_is_set():
    """Each sees its caller's value again as soon as it is out, and nobody computes with it inside."""
    inside, seen = [], []

    def work():
        for _ in range(50):
            with clean():
                inside.append(torch.get_default_dtype())
            seen.append(torch.get_default_dtype())

    with dtype(torch.float64):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.get_default_dtype() == torch.float64
    assert set(inside) == {torch.float32}
    assert len(seen) == 200


def test_threads_work_side_by_side_where_none_is_set():
    met = threading.Barrier(3)

    def work():
        with clean():
            met.wait(20)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not met.broken


def test_blocks_within_blocks_keep_what_was_outside_each():
    with torch.no_grad(), clean():
        with torch.no_grad(), kept():
            torch.set_default_dtype(torch.float64)
            with clean():
                assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float32, True)
            assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float64, False)
        assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float32, True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_is_told_so_where_it_would_hang():
    """It works with one thread, as one of a DataLoader does."""
    v = torch.ones(10**5)  # enough for two threads
    with put(torch.get_num_threads, torch.set_num_threads, 2):
        with clean():
            v.exp()
        child = os.fork()
        if not child:
            os._exit(_in_fork(v))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        with clean():
            v.exp()


def _in_fork(v):
    """7 if the process is told, and then computes."""
    try:
        with clean():
            return 1
    except UsageError as error:
        if "forked" not in str(error):
            return 2
    torch.set_num_threads(1)
    with clean():
        return 7 if v.exp().sum() > 10**5 else 3
