import pytest
import torch

from taskodec.contracts import Task
from taskodec.contracts.function_task import FunctionTask
from taskodec.errors import UsageError
from taskodec.tasks.human import Human

TASK = FunctionTask("dark", lambda x_hat, x: (x_hat - 0.5 * x).square().mean())


def test_a_task_is_judged_by_its_mean_loss_unless_it_says_otherwise():
    judge = TASK.evaluator()
    assert dict(judge.metrics) == {"task_loss": False}
    x = torch.full((1, 3, 4, 4), 0.5)
    records = [judge.observe("a.png", x_hat, x) for x_hat in (x, 0 * x)]
    assert judge.summarise(records) == {"task_loss": pytest.approx(0.0625)}
    assert judge.summarise([*records, records[0]]) == {"task_loss": pytest.approx(0.0625)}


@pytest.mark.filterwarnings("ignore:LPIPS is left out")
def test_human_is_judged_by_both_of_its_figures():
    judge = Human().evaluator()
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    near, far = (judge.observe("a.png", (x + off).clamp(0, 1), x) for off in (0.02, 0.2))
    assert set(near) == set(judge.metrics)
    for metric, more_is_better in judge.metrics.items():
        assert (near[metric] > far[metric]) == more_is_better


@pytest.mark.parametrize("task", [TASK, Human()], ids=lambda task: task.name)
def test_labels_that_a_task_has_no_use_for(task: Task, tmp_path):
    with pytest.raises(UsageError, match=r"without labels; leave out .*labels\.tsv"):
        task.evaluator(tmp_path / "labels.tsv")
