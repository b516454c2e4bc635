"""Pictures as files, for tests of the service."""

import io

from taskodec.images.tensors import to_pil


def png(x):
    """A tensor (1, 3, H, W) as a PNG file."""
    buffer = io.BytesIO()
    to_pil(x).save(buffer, "PNG")
    return buffer.getvalue()
