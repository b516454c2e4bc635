"""The matrix of judges, from rows that are written down here."""

import math

import pytest

from taskodec.contracts import Evaluator
from taskodec.evaluation.matrix import Judged
from taskodec.evaluation.matrix_report import judge_notes, judge_tables
from taskodec.evaluation.methods import Method
from taskodec.evaluation.rows import Row
from taskodec.evaluation.summary import summarise

PLAIN, TTFT, ORIGINAL = Method("plain", "plain"), Method("ttft", "ttft"), Method("original", "original")
QUALITIES = (1.0, 2.0, 3.0, 4.0)
IMAGES = ("a", "b", "c")


class Score(Evaluator):
    """The mean of a score; enough of it satisfies."""

    metrics = {"score": True}  # noqa: RUF012

    def __init__(self, answers=True):
        self.answers = answers

    def observe(self, name, x_hat, x):
        raise NotImplementedError

    def summarise(self, records):
        return {"score": sum(record["score"] for record in records) / len(records)}

    def satisfied(self, record):
        return record["score"] >= 0.5 if self.answers else None


def row(image, method, quality, bpp, loss, judges):
    views = {name: {"task_loss": own, "record": {"score": 1 - own}} for name, own in judges.items()}
    return Row(image, "0", method, quality, "s", 8, 8, loss, {"score": 1 - loss}, bpp=bpp, judges=views)


def rows_of(saved):
    """`saved` has by judge which factor of plain's bits files of `ttft` need for a loss; "own" is the task."""
    found = []
    for number, image in enumerate(IMAGES):
        found.append(row(image, "original", None, None, 0.0, dict.fromkeys(saved, 0.0)))
        for quality in QUALITIES:
            bpp = 0.1 * 2**quality * (1 + 0.1 * number)
            loss = 1.0 * 2 ** (-quality / 2)
            found.append(row(image, "plain", quality, bpp, loss, dict.fromkeys(saved, loss)))
            # loss ~ bpp ** -0.5: a factor f of the bits for a loss is f ** 0.5 of the loss at the bits
            better = {name: loss * factor**0.5 for name, factor in saved.items()}
            found.append(row(image, "ttft", quality, bpp, better["own"], better))
    return found


def summary_of(saved, judges, resamples=20):
    rows = rows_of(saved)
    return summarise(
        rows, [ORIGINAL, PLAIN, TTFT], Score(), judges=judges, made_for={"ttft": "cls"}, resamples=resamples
    ).judged


@pytest.fixture
def matrix():
    judges = [
        Judged("cls", Score(), frozenset({"ttft"})),
        Judged("near", Score(), frozenset(), judge="near"),
        Judged("far", Score(), frozenset(), judge="far"),
    ]
    return summary_of({"own": 0.3, "near": 0.6, "far": 0.8}, judges)


def test_every_judge_has_its_own_delta(matrix):
    by_loss = {cell.judge: cell for cell in matrix.cells if cell.metric == "task_loss"}
    assert {name: round(cell.rate.value) for name, cell in by_loss.items()} == {"cls": -70, "near": -40, "far": -20}
    assert {name: cell.seen for name, cell in by_loss.items()} == {"cls": True, "near": False, "far": False}
    assert all(cell.made_for == "cls" for cell in matrix.cells)
    assert not by_loss["near"].higher_is_better
    assert by_loss["near"].rate.low < by_loss["near"].rate.high
    near = by_loss["near"].estimate
    assert near.resamples == 20
    assert near.low <= near.value <= near.high
    by_score = {cell.judge: cell for cell in matrix.cells if cell.metric == "score"}
    assert round(by_score["far"].rate.value) == -20
    assert by_score["far"].higher_is_better


def test_the_mean_is_over_judges_that_files_were_not_made_for(matrix):
    (by_loss,) = [mean for mean in matrix.means if mean.by == "loss"]
    assert by_loss.judges == ("near", "far")
    assert by_loss.estimate.value == pytest.approx(-30, abs=0.5)
    assert by_loss.estimate.low <= by_loss.estimate.value <= by_loss.estimate.high


def test_the_satisfied_machine_ratio(matrix):
    assert {one.method for one in matrix.satisfied} == {"plain", "ttft"}
    plain = {one.quality: one for one in matrix.satisfied if one.method == "plain"}
    tuned = {one.quality: one for one in matrix.satisfied if one.method == "ttft"}
    assert plain[1.0].judges == {"cls": 0, "near": 0, "far": 0}  # a loss of 0.71
    assert tuned[1.0].judges == {"cls": 1, "near": 0, "far": 0}  # 0.39, 0.55, 0.63
    assert tuned[1.0].unseen.value == 0
    assert tuned[1.0].every.value == pytest.approx(1 / 3)
    assert plain[4.0].every.value == 1
    # plain is made for nobody: all judges are unseen
    assert plain[2.0].unseen == plain[2.0].every
    assert plain[1.0].bpp == pytest.approx(0.22)


def test_a_judge_that_cannot_say_is_left_out_of_the_ratio():
    judges = [Judged("cls", Score(), frozenset({"ttft"})), Judged("far", Score(False), frozenset(), judge="far")]
    matrix = summary_of({"own": 0.3, "far": 0.8}, judges)
    assert all(set(one.judges) == {"cls"} for one in matrix.satisfied)
    tuned = next(one for one in matrix.satisfied if one.method == "ttft")
    assert tuned.unseen is None
    assert any("no satisfied machine ratio of far" in note for note in judge_notes(matrix))


def test_a_judge_without_a_delta_is_left_out_of_the_mean():
    judges = [Judged(name, Score(), frozenset(), judge=name) for name in ("near", "far")]
    matrix = summary_of({"own": 0.3, "near": 0.5, "far": 1e-4}, judges)  # far's curves do not overlap
    (mean,) = [mean for mean in matrix.means if mean.by == "loss"]
    assert (mean.judges, mean.left_out) == (("near",), ("far",))
    assert judge_tables(matrix)[0].rows[-1][1].endswith("] (1 of 2)")
    far = next(cell for cell in matrix.cells if cell.judge == "far" and cell.metric == "task_loss")
    assert far.estimate is None
    assert any("do not overlap" in note and "ttft by far's task_loss" in note for note in judge_notes(matrix))


def test_without_a_baseline_there_is_no_delta():
    judges = [Judged("far", Score(), frozenset(), judge="far")]
    rows = [row for row in rows_of({"own": 0.3, "far": 0.5}) if row.method == "ttft"]
    matrix = summarise(rows, [TTFT], Score(), judges=judges, resamples=0).judged
    assert matrix.cells == ()
    assert len(matrix.satisfied) == 4
    assert "no BD-rates of judges: there is no method plain to compare with" in judge_notes(matrix)


def test_tables(matrix):
    losses, figures, satisfied = judge_tables(matrix)
    assert losses.header == ("judge", "ttft, for cls")
    assert [line[0] for line in losses.rows] == ["cls", "near", "far", "mean of unseen"]
    assert losses.rows[0][1].endswith("*")
    assert losses.rows[1][1].startswith("-40.2 % [")
    assert figures.rows[0][0] == "cls: score"
    assert len(satisfied.rows) == 8
    assert not any(math.isnan(float(line[2])) for line in satisfied.rows)


def test_no_judges_no_matrix():
    assert summary_of({"own": 0.5}, ()) is None
