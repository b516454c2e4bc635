"""Networks compared with their authors' own code: weights that both can make for themselves, and what they say."""

import hashlib
import zlib

import torch


def fill(network):
    """Weights drawn by the name of each tensor."""
    state = network.state_dict()
    for name, value in state.items():
        if not value.is_floating_point():
            continue
        noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
        if name.endswith("running_var"):
            state[name] = 1 + 0.1 * noise.abs()
        elif value.dim() > 1:
            state[name] = noise / value[0].numel() ** 0.5
        else:
            usual = 0.25 if "act" in name else 1.0
            state[name] = usual * name.endswith("weight") + 0.1 * noise
    network.load_state_dict(state)
    return network.eval()


def picture(side):
    return torch.rand(1, 3, 384, 384, generator=torch.Generator().manual_seed(0))[..., :side, :side]


def keys(network):
    """SHA-256 of the names and shapes of a state dict."""
    lines = [f"{name} {tuple(value.shape)}\n" for name, value in sorted(network.state_dict().items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def summary(values):
    """Five values, the mean, and the root mean square."""
    values = values.detach().double().flatten()
    return [*values[:: len(values) // 5][:5].tolist(), float(values.mean()), float(values.square().mean().sqrt())]
