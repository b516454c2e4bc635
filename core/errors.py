"""Every error taskodec raises on purpose.

TaskodecError
├── UsageError            the call itself is wrong: an unknown name, a quality that does not exist
│   └── SettingsError     a configuration key or value is wrong
├── TargetError           no file of this picture keeps to what was asked for
├── ImageError            an input picture cannot be used
├── TaskError             a task's loss or network misbehaves (named in the message)
├── WeightsError          weights are missing, of the wrong shape, or not what they claim to be
├── PluginError           a plugin failed to load, or registers a name twice
└── StreamError           a .tkd stream cannot be decoded
    ├── DamagedStreamError      truncated, flipped bits, impossible values
    ├── UnsupportedStreamError  made by another version, or larger than the stated limit
    └── MismatchError           needs other codec or adapter weights than the ones here

Each message says what was found, what is valid, and what to do.
"""

__all__ = [
    "DamagedStreamError",
    "ImageError",
    "MismatchError",
    "PluginError",
    "SettingsError",
    "StreamError",
    "TargetError",
    "TaskError",
    "TaskodecError",
    "UnsupportedStreamError",
    "UsageError",
    "WeightsError",
]


class TaskodecError(Exception):
    """Base of all errors raised on purpose."""


class UsageError(TaskodecError):
    """The call itself is wrong."""


class SettingsError(UsageError):
    """A configuration key or value is wrong."""


class TargetError(TaskodecError):
    """No file of a picture keeps to what was asked for: it is too small a size, or too good a figure."""


class ImageError(TaskodecError):
    """An input picture cannot be used."""


class TaskError(TaskodecError):
    """A task's loss or network misbehaves."""


class WeightsError(TaskodecError):
    """Weights are missing, of the wrong shape, or not what they claim to be."""


class PluginError(TaskodecError):
    """A plugin failed to load, or registers a name twice."""


class StreamError(TaskodecError):
    """A stream cannot be decoded."""


class DamagedStreamError(StreamError):
    """A stream is truncated, altered, or holds impossible values."""


class UnsupportedStreamError(StreamError):
    """A stream was made by another version, or exceeds a stated limit."""


class MismatchError(StreamError):
    """A stream needs other codec or adapter weights than the ones here."""
