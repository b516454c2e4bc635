"""A codec as ONNX graphs, checked against the codec itself."""
