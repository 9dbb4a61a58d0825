"""Tests of clconv.onnx."""
