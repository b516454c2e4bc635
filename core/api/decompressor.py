"""Pictures out of streams, each with the codec and the adapter that it names."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import torch
from PIL import Image

from taskodec.api.loading import (
    adapter_for_stream,
    choose_device,
    codec_for_stream,
    has_quality,
)
from taskodec.coding.streams import check_weights, padded, read_latents
from taskodec.coding.tiles import Tiles
from taskodec.console.progress import Progress
from taskodec.contracts import Codec
from taskodec.errors import (
    DamagedStreamError,
    ImageError,
    MismatchError,
    PluginError,
    StreamError,
    TaskodecError,
)
from taskodec.hooks.registry import Registry, default_registry
from taskodec.hooks.sending import sent
from taskodec.images.tensors import crop_to, to_pil
from taskodec.isolation.activation import inactive
from taskodec.isolation.ambient import in_clean_state
from taskodec.isolation.faults import named
from taskodec.isolation.guests import as_guest
from taskodec.isolation.sharing import InUseError, shared
from taskodec.settings.model import Settings, load_settings
from taskodec.stream.bitstream import Header, Stream

__all__ = ["Decompressor"]


class Decompressor:
    """Decompresses streams; codecs and adapters are loaded when a stream first needs them, and kept.

    Any number of threads may share it. For another process it is made anew from settings and registry, there.
    """

    def __init__(self, settings: Settings | None = None, registry: Registry | None = None) -> None:
        self.settings = settings or load_settings()
        self.registry = registry or default_registry()
        self.device = choose_device(self.settings.device)
        self._codecs: list[Codec] = []
        self._loading = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return sent(type(self), (self.settings, self.registry))

    @property
    def codecs(self) -> Sequence[Codec]:
        """Those that streams have needed so far."""
        return tuple(self._codecs)

    @in_clean_state
    @torch.no_grad()
    def decompress(self, data: bytes, progress: Progress | None = None) -> Image.Image:
        """The picture of a stream; StreamError and its subclasses say why there is none.

        `progress` is told of every tile of a large picture.
        """
        stream = Stream.from_bytes(data, max_pixels=self.settings.limits.max_pixels)
        codec = self._codec(stream.header)
        try:
            with named(f"codec {codec.name!r}, or its adapter, raised", PluginError, Exception):
                return self._picture(stream, codec, as_guest(progress))
        except (StreamError, InUseError):
            raise
        except ImageError as error:
            raise DamagedStreamError(f"the stream gives no picture: {error}") from error
        except TaskodecError as error:
            raise MismatchError(f"codec {codec.name!r}, as it is here, cannot decode the stream: {error}") from error

    def _picture(self, stream: Stream, codec: Codec, progress: Progress | None) -> Image.Image:
        header = stream.header
        adapter = None
        if header.adapter_fingerprint is not None:
            try:
                adapter = adapter_for_stream(self.registry, header, codec, self.settings.adapter)
            except MismatchError:
                check_weights(header, codec)  # where they are others, no adapter here can be the one
                raise
        with inactive(), shared(codec) if adapter is None else adapter.applied(codec):
            y_hat, delta = read_latents(stream, codec, adapter)
            if adapter is not None:
                adapter.set_delta(delta.tensor(y_hat) if delta else None)
            full = (padded(header.height, codec.stride), padded(header.width, codec.stride))
            tiles = Tiles(self.settings.limits.tile).counted(progress, codec, full, analysis=False)
            x_hat = tiles.synthesis(codec, y_hat, header.quality, full)
            return to_pil(crop_to(x_hat, header.height, header.width))

    def _codec(self, header: Header) -> Codec:
        """The stream's codec, loaded once for all the qualities it has."""
        with self._loading:
            for kept in self._codecs:
                if kept.name == header.codec and has_quality(kept, header.quality):
                    return kept
            codec = codec_for_stream(self.registry, header, self.settings.codec).to(self.device).requires_grad_(False)
            self._codecs.append(codec)
            return codec
