"""All three hooks. Only specs are made here: torch and the modules named below load on first use."""

import taskodec


@taskodec.hookimpl
def register_codecs():
    return [taskodec.CodecSpec("blocks", "taskodec_blocks.codec:load", "a 4x4 Walsh-Hadamard transform")]


@taskodec.hookimpl
def register_adapters():
    return [taskodec.AdapterSpec("colour-gain", "taskodec_blocks.adapter:build", "scales the decoded colours")]


@taskodec.hookimpl
def register_tasks():
    return [taskodec.TaskSpec("smooth", "taskodec_blocks.task:Smooth", "no steps at block borders")]
