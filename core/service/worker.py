"""What runs in a worker process: codecs, tasks and compressors that are kept, and one piece of work after the other."""

from __future__ import annotations

import signal
import traceback
import warnings
from collections import OrderedDict
from weakref import WeakValueDictionary

import torch

from taskodec.api.compressor import Compressor, Result
from taskodec.api.decompressor import Decompressor
from taskodec.api.loading import has_quality
from taskodec.api.targets import kept
from taskodec.coding.streams import quantize_quality
from taskodec.console.interrupt import end_with_parent
from taskodec.console.progress import Progress
from taskodec.contracts import Codec, Task
from taskodec.errors import TaskodecError
from taskodec.files.inputs import NamedBytes
from taskodec.hooks.registry import Registry, default_registry
from taskodec.hooks.specs import resolve
from taskodec.images.tensors import save_image
from taskodec.isolation.faults import described, lacks_memory
from taskodec.service.work import GIVEN, MADE, Answer, Done, Failed, Start, Work
from taskodec.settings.model import Settings
from taskodec.stream.bitstream import Stream

__all__ = ["PICTURE", "Abandoned", "Coders", "begin", "do", "failed", "figures", "prepare", "watched"]

OUT_OF_MEMORY = "OutOfMemoryError"

PICTURE = "the picture"
"""What messages call it."""


class Abandoned(Exception):
    """Nobody waits for the result any more."""


class Coders:
    """A registry, and the last compressors that were used, by their settings; they share codecs and tasks."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.settings, self.registry = settings, registry
        self._compressors: OrderedDict[str, Compressor] = OrderedDict()
        self._codecs: WeakValueDictionary[str, Codec] = WeakValueDictionary()
        self._tasks: WeakValueDictionary[str, Task] = WeakValueDictionary()
        self._decompressor = Decompressor(settings, registry)

    def do(self, work: Work) -> list[Answer]:
        """Do the work, whatever becomes of it: for each job its answer."""
        try:
            return [self._decompressed(work)] if work.form else self.compressed(work)
        except Exception as error:
            return [failed(error)] * len(work.folders)

    def compressor(self, settings: Settings) -> Compressor:
        """The compressor of these settings, kept or new."""
        key = settings.model_dump_json(exclude={"train", "pretrain", "serve", "data", "downloads"})
        found = self._compressors.pop(key, None)
        if found is None:
            found = Compressor(settings, self.registry, self._task(settings), self._codec(settings))
            named = {"task": settings.task}  # of which the task was made, so that reports call it as it was asked for
            found.settings = found.settings.model_copy(update=named)
        self._compressors[key] = found
        while len(self._compressors) > self.settings.serve.kept:
            self._compressors.popitem(last=False)
        self._codecs[settings.codec.model_dump_json()] = found.codec
        return found

    def _codec(self, settings: Settings) -> Codec | None:
        """The same codec as another compressor has, if it has this quality."""
        codec = self._codecs.get(settings.codec.model_dump_json())
        return codec if codec is not None and has_quality(codec, quantize_quality(settings.quality)) else None

    def _task(self, settings: Settings) -> Task:
        key = settings.task.model_dump_json(include={"name", "options", "shares"})
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = self.registry.task_from(settings.task.spec, **settings.task.options)
        return task

    def compressed(self, work: Work) -> list[Answer]:
        """What became of each picture of a piece of work."""
        compressor = self.compressor(work.settings)
        pictures = [NamedBytes((folder / GIVEN).read_bytes(), PICTURE) for folder in work.folders]
        outcomes = compressor.compress_batch(pictures, watched(work))
        answers: list[Answer] = []
        for folder, outcome in zip(work.folders, outcomes, strict=True):
            if isinstance(outcome, Exception):
                answers.append(failed(outcome))
            elif folder.exists():
                (folder / MADE).write_bytes(outcome.stream)
                answers.append(Done({**figures(outcome), "together": len(work.folders)}))
            else:
                answers.append(failed(Abandoned()))
        return answers

    def _decompressed(self, work: Work) -> Answer:
        (folder,) = work.folders
        data = (folder / GIVEN).read_bytes()
        header = Stream.from_bytes(data, max_pixels=self.settings.limits.max_pixels).header
        if header.codec not in work.codecs:
            valid = ", ".join(work.codecs)
            return Failed("NotAllowedError", f"the stream needs codec {header.codec!r}; allowed here: {valid}")
        if len(self._decompressor.codecs) > self.settings.serve.kept:
            self._decompressor = Decompressor(self.settings, self.registry)
        image = self._decompressor.decompress(data, watched(work))
        save_image(image, folder / f"{MADE}.{work.form}")
        return Done({"bytes": len(data), "width": image.width, "height": image.height, "codec": header.codec})


def figures(result: Result) -> dict[str, object]:
    """What a client is told of its stream: names as in `Result.report`, without what takes the task's metrics."""
    best, untuned, target = result.tuned.best, result.tuned.untuned, result.settings.target
    return {
        "codec": result.settings.codec.name,
        "task": result.task.name,
        "quality": result.settings.quality,
        "width": result.x.shape[3],
        "height": result.x.shape[2],
        "bytes": len(result.stream),
        "bpp": best.bpp,
        "bpp_before": untuned.bpp,
        "task_loss_before": untuned.loss,
        "task_loss_after": best.loss,
        "cost_before": untuned.cost,
        "cost_after": best.cost,
        "steps": result.tuned.steps,
        "seconds": round(result.tuned.seconds, 3),
        "chosen": best.name,
        **({"target": kept(target, result.tuned)} if target.kind else {}),
        "notes": list(result.notes),
    }


def failed(error: BaseException) -> Failed:
    """What a client is told of an error, and the traceback of one that was not raised on purpose."""
    if lacks_memory(error):
        return Failed(OUT_OF_MEMORY, "the picture needs more memory than a worker here may have; send a smaller one")
    if isinstance(error, TaskodecError):
        return Failed(type(error).__name__, str(error))
    text = "".join(traceback.format_exception(error))
    return Failed("InternalError", described(error), text)


def watched(work: Work) -> Progress:
    """Ends the work once nobody waits for any of it: the folders of jobs are removed with their requests."""

    def look(*_: object) -> None:
        if not any(folder.exists() for folder in work.folders):
            raise Abandoned

    return look


_here: list[Coders] = []
"""Of this process, if it is a worker."""


def prepare() -> None:
    """Before anything else: Ctrl-C is for the server, which ends its workers, and a killed server takes them along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def begin(start: Start) -> str:
    """Load what most requests need; why that cannot be, or nothing."""
    torch.set_num_threads(start.threads)
    warnings.simplefilter("ignore")  # notes say what a client should know
    try:
        if start.memory is not None:
            _limit_memory(start.memory)
        registry = default_registry()
        for path in start.plugins:
            registry.load_plugin_file(path)
        coders: Coders = resolve(start.coders)(start.settings, registry)
        for task in start.tasks:
            registry.task_from(task)
        coders.compressor(start.settings)
    except TaskodecError as error:
        return described(error)
    _here[:] = [coders]
    return ""


def _limit_memory(most: int) -> None:
    """The data of this process: unlike its address space, that does not count what libraries map of their files."""
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def do(work: Work) -> list[Answer]:
    """Do a piece of work in this process."""
    return _here[0].do(work)
