import pytest
import torch
from torch import nn

from taskodec.codecs.tic.patch_pca import start_as_block_transform


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


def transforms(widths, kernel=3):
    """Halving convolutions and their counterparts, each with a factor of two behind it, or before."""
    torch.manual_seed(0)
    analysis, synthesis = nn.Sequential(), nn.Sequential()
    for inputs, outputs in zip((3, *widths), widths, strict=False):
        analysis.extend([nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2), Doubled()])
    for inputs, outputs in zip(widths[::-1], (*widths[-2::-1], 3), strict=True):
        deconv = nn.ConvTranspose2d(inputs, outputs, kernel, stride=2, padding=kernel // 2, output_padding=1)
        synthesis.extend([Doubled(), deconv])
    return analysis.requires_grad_(False), synthesis.requires_grad_(False)


def start(analysis, synthesis, x, step=0.1):
    start_as_block_transform(analysis[::2], synthesis[1::2], x, step, between=2.0)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("step", [0.1, 1.0])
def test_with_all_components_nothing_is_lost(kernel, step, photo):
    analysis, synthesis = transforms((12, 48), kernel)
    start(analysis, synthesis, photo, step)
    torch.testing.assert_close(synthesis(analysis(photo)), photo, atol=2e-2, rtol=0)  # a bias is one for a channel


def test_coefficients_have_mean_zero_in_units_of_the_step(photo):
    analysis, synthesis = transforms((12, 48))
    start(analysis, synthesis, photo, step=0.1)
    fine = analysis(photo)
    start(analysis, synthesis, photo, step=0.2)
    torch.testing.assert_close(analysis(photo), fine / 2, atol=1e-4, rtol=1e-3)
    assert float(fine.mean((0, 2, 3)).abs().max()) < 1e-3
    assert fine.std((0, 2, 3)).argmax() == 0  # the first component is the strongest


def test_fewer_components_keep_most(photo):
    analysis, synthesis = transforms((12, 20))
    start(analysis, synthesis, photo)
    assert float((synthesis(analysis(photo)) - photo).square().mean()) < 0.1 * float(photo.var())


def test_channels_without_a_component_stay_random_and_unread(photo):
    analysis, synthesis = transforms((32, 48))
    before = analysis[0].weight.detach().clone()
    start(analysis, synthesis, photo)
    assert torch.equal(analysis[0].weight[12:], before[12:])
    assert not analysis[2].weight[:, 12:].any()
    assert not synthesis[3].weight[12:].any()
