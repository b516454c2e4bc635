"""What `--help` shows of each command beside its options: a line in the list of commands, and examples."""

from __future__ import annotations

__all__ = ["EXAMPLES", "ONE_LINE", "epilog"]

ONE_LINE = {
    "compress": "Compress images for a task, tuning the codec to each.",
    "decompress": "Decompress streams; the task's code is not needed.",
    "info": "Say what streams hold, without loading a network.",
    "plugins": "List codecs, adapters, tasks and anchors.",
    "config": "Print the settings that options resolve to.",
    "demo": "Compress pictures on a page, and look on.",
    "doctor": "Check this installation, and say what is missing.",
    "train": "Train a codec on images.",
    "pretrain": "Train a codec's adapter for a task on images.",
    "bench": "Measure codecs on images by real files.",
    "export": "Export a decoder to ONNX, which needs no torch.",
    "paper": "Print the published table beside what was measured.",
    "report": "Make a page of what became of pictures, or of a run.",
    "serve": "Compress and decompress over HTTP.",
    "eval": "Measure what a task makes of decoded images.",
    "models": "List, fetch and verify published weights.",
    "models list": "List weights, and whether they are here.",
    "models fetch": "Download weights into the cache folder.",
    "models verify": "Hash the weights that are here.",
    "models path": "Print where weights lie, or the cache folder.",
}
"""For the list of commands, where the first line of their help would be cut off."""

EXAMPLES = {
    "compress": (
        "taskodec compress photo.png --task cls --quality 2",
        "taskodec compress photos/ -o streams/ --task det --preset quick",
        "taskodec compress photo.png --task edges.py:loss --steps 80 --force",
        "taskodec compress photo.png --target-bytes 20kB",
        "taskodec compress - -o - --steps 0 < photo.png > photo.tkd",
    ),
    "decompress": (
        "taskodec decompress photo.tkd",
        "taskodec decompress streams/ -o pictures/ --skip-existing",
        "taskodec decompress photo.tkd -o photo.webp --force",
    ),
    "info": ("taskodec info photo.tkd", "taskodec info streams/ --json"),
    "plugins": ("taskodec plugins", "taskodec plugins --plugin my_task.py --json"),
    "config": ("taskodec config --task cls --preset thorough", "taskodec config --set ttft.steps=80 > mine.yaml"),
    "demo": ("taskodec demo", "taskodec demo --task edges.py:loss --task cls --port 8080 --no-open"),
    "doctor": ("taskodec doctor", "taskodec doctor --json"),
    "train": (
        "taskodec train --codec lite --data photos/ -o runs/mine",
        "taskodec train --codec lite --data photos/ -o runs/mine --resume",
    ),
    "pretrain": (
        "taskodec pretrain --task cls --data photos/ -o runs/cls",
        "taskodec pretrain --task edges.py:loss --data photos/ \\\n    --validation held_out/ -o runs/edges",
    ),
    "bench": (
        "taskodec bench --data kodak/ -o runs/bench",
        "taskodec bench --speed --data photo.png -o runs/speed --rounds 9",
        "taskodec bench --ttft --task cls --data photos/ -o runs/ttft --images 5",
    ),
    "export": (
        "taskodec export --codec lite -o lite-onnx --check photo.png",
        "taskodec export --codec lite --encoder --fp16 -o lite-fp16",
    ),
    "paper": ("taskodec paper --commands", "taskodec paper runs/paper"),
    "report": (
        "taskodec report photo.png --task cls -o photo.html",
        "taskodec report runs/cls -o cls.html --force",
    ),
    "serve": ("taskodec serve", "taskodec serve --port 8080 --workers 2 --config serve.yaml"),
    "eval": (
        "taskodec eval --task cls --data val/ --labels val.tsv -o runs/cls",
        "taskodec eval --task det --data val2017/ --images 10 --qualities 1,2,3 \\\n"
        "    --methods original,plain,ttft,jpeg -o runs/det",
    ),
    "models": (
        "taskodec models list 'tic*'",
        "taskodec models fetch yolox_nano",
        "taskodec models verify",
        "taskodec compress photo.png --codec tic --quality 1 \\\n"
        '    --set codec.checkpoint="$(taskodec models path tic-q1)"',
    ),
    "models list": ("taskodec models list 'tic*' resnet50", "taskodec models list --json"),
    "models fetch": (
        "taskodec models fetch yolox_nano espnetv2",
        "taskodec models fetch 'tic-*' --mirror https://mirror.example/weights",
    ),
    "models verify": ("taskodec models verify", "taskodec models verify yolox_nano"),
    "models path": ("taskodec models path", "taskodec models path yolox_nano"),
}
"""By command, each a line that a shell takes, at most 74 columns wide."""


def epilog(command: str) -> str | None:
    """The examples of a command as they stand at the end of its help; None where there are none."""
    if command not in EXAMPLES:
        return None
    lines = "\n".join(EXAMPLES[command]).splitlines()
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
