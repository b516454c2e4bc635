"""What pages take for granted: a small photograph, and an exported codec."""

import pytest

from taskodec.adapters.lora import build_svd_lora
from taskodec.codecs.lite.codec import load_lite
from taskodec.export.folder import Form, export_codec


@pytest.fixture(scope="session")
def lite():
    return load_lite()


@pytest.fixture(scope="session")
def adapter(lite):
    """The default one, which tuning starts from where none was trained."""
    return build_svd_lora(lite).requires_grad_(False)


@pytest.fixture(scope="session")
def lite_onnx(lite, adapter, tmp_path_factory):
    """What `taskodec export --codec lite --encoder` writes."""
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("exported") / "lite-onnx"
    export_codec(lite, adapter, path, Form(encoder=True))
    return path
