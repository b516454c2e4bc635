"""What the page may ask for beside a picture: names, numbers, nothing that is code or a file. No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from taskodec.errors import UsageError
from taskodec.service.options import Allowed, CompressOptions

__all__ = ["Asked", "DemoOptions", "own_tasks"]

Text = Annotated[str, Field(max_length=1024)]


class DemoOptions(CompressOptions):
    """Options of `POST /jobs`."""

    task: Text | None = Field(None, description="What the picture is for.")
    name: str = Field("picture", max_length=255, description="What the picture is called.")
    example: str | None = Field(None, max_length=64, description="A bundled picture in place of a body.")
    judges: Text = Field("", description="Other tasks that are asked what they see, with commas between.")
    megapixels: float | None = Field(None, gt=0, description="Larger pictures are reduced to so many first.")

    def for_work(self, tasks: Allowed) -> Asked:
        """What of it the worker needs; NotAllowedError for judges that are not allowed."""
        judges = [tasks.meant(name.strip()) for name in self.judges.split(",") if name.strip()]
        return Asked(self.name, tuple(dict.fromkeys(judges)), self.megapixels)


@dataclass(frozen=True)
class Asked:
    """What a worker must know beside the settings. `judges` are tasks as `Registry.task_from` takes them."""

    name: str
    judges: tuple[str, ...] = ()
    megapixels: float | None = None

    def write(self, path: Path) -> None:
        """Into a file of the job's folder."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Asked:
        """From there."""
        found = json.loads(path.read_text(encoding="utf-8"))
        return cls(found["name"], tuple(found["judges"]), found["megapixels"])


def own_tasks(given: Sequence[str]) -> dict[str, str]:
    """The `FILE.py:OBJ` among tasks of the command line: what the page calls each, and where it is.

    UsageError for files that are not there, and for two of one name.
    """
    found: dict[str, str] = {}
    for spec in given:
        if ".py" not in spec:
            continue
        file, _, name = spec.rpartition(":")
        if not file.endswith(".py") or not name:
            raise UsageError(f"--task {spec}: expected a name, or FILE.py:NAME_OF_THE_LOSS")
        path = Path(file).expanduser()
        if not path.is_file():
            raise UsageError(f"--task {spec}: there is no file {file}")
        if "," in str(path.resolve()):
            raise UsageError(f"--task {spec}: a comma in a path stands between tasks; rename {path.resolve()}")
        label = f"{path.name}:{name}"
        whole = f"{path.resolve()}:{name}"
        if found.setdefault(label, whole) != whole:
            raise UsageError(f"--task {spec}: there is another {label}, {found[label]}; rename one of the files")
    return found
