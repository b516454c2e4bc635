"""What a stream says of itself, without a network. No torch."""

from __future__ import annotations

import sys
from typing import Any

from taskodec.stream.bitstream import Stream

__all__ = ["about_stream"]


def about_stream(data: bytes) -> dict[str, Any]:
    """All that is in the header of a stream of any size, and its rate; StreamError for what is none."""
    stream = Stream.from_bytes(data, max_pixels=sys.maxsize)  # nothing here grows with the picture
    header = stream.header
    adapter = header.adapter_fingerprint
    return {
        "bytes": len(data),
        "width": header.width,
        "height": header.height,
        "bpp": 8 * len(data) / (header.width * header.height),
        "codec": header.codec,
        "codec_fingerprint": header.codec_fingerprint.hex(),
        "quality": header.quality,
        "adapter_fingerprint": adapter.hex() if adapter else None,
        "has_delta": header.has_delta,
        "absolute": header.absolute,
        "header_bytes": stream.header_bytes,
        "payload_bytes": len(stream.payload),
        "metadata": dict(header.metadata),
    }
