"""CompressAI's entropy models, imported without a warning that is none of our users' business.

CompressAI imports torch_geometric, which calls the deprecated `torch.jit.script` while it is imported.
"""

import warnings

__all__ = ["EntropyBottleneck", "EntropyModel", "EntropyModelVbr"]

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", r".torch\.jit\.script. is deprecated", FutureWarning)
    from compressai.entropy_models import EntropyBottleneck, EntropyModel, EntropyModelVbr
