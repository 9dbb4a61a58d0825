"""A model from a file, with the tensors that it keeps in others, checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import onnx

from clconv.errors import ClconvError, UnsupportedError


def read_model(source: str | Path | bytes | onnx.ModelProto) -> onnx.ModelProto:
    """Return a checked model from a path, the bytes of a file, or a model.

    Raises
    ------
    ClconvError
        If the file is missing, damaged, or not ONNX.
    """
    invalid: Exception | None = None
    if isinstance(source, onnx.ModelProto):
        model, what = source, "the model"
        invalid = _why_invalid(model)
    elif isinstance(source, (str, Path, bytes)):
        what = "the model" if isinstance(source, bytes) else f"{source}" or "the path ''"
        if not isinstance(source, bytes):
            # Before it is loaded: the checker makes a copy of its own, and large models need not be in memory twice.
            invalid = _why_invalid(str(source))
        try:
            model = onnx.load_from_string(source) if isinstance(source, bytes) else onnx.load(source, load_external_data=False)
        except FileNotFoundError:
            raise ClconvError(f"{what} does not exist; give the path of an ONNX file") from None
        except OSError as error:
            raise ClconvError(f"{what} cannot be read ({error}); give the path of an ONNX file") from error
        except Exception as error:  # protobuf's DecodeError, whose class depends on its implementation
            raise ClconvError(f"{what} is no ONNX file, or a damaged one ({error}); export or download it again") from error
        if isinstance(source, bytes):
            invalid = _why_invalid(model)
        else:
            _load_data(model, Path(source))
    else:
        raise ClconvError(f"a model is a path, bytes or an onnx.ModelProto, not a {type(source).__name__}")
    if invalid is not None and "topologically sorted" in str(invalid) and (ordered := _sorted(model)) is not None:
        model, invalid = ordered, _why_invalid(ordered)
    if invalid is not None and (whole := _with_shapes(model)) is not None:
        invalid = _why_invalid(whole)
    if invalid is not None:
        absent = _absent_file(model, Path())
        if absent:
            raise ClconvError(
                f"{what} keeps tensors in the file {absent}, which is looked for beside it; pass its path"
            ) from invalid
        if "deprecated" in str(invalid):
            old = str(invalid).strip().splitlines()[0]
            raise UnsupportedError(f"{what} uses what ONNX has taken back ({old}); export it with another opset") from invalid
        first = str(invalid).strip().splitlines()[0] if str(invalid).strip() else type(invalid).__name__
        raise ClconvError(f"{what} is not a valid ONNX model ({first}); export or download it again") from invalid
    return model


def _sorted(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Return a copy whose nodes stand behind those that they read from, None if they read from each other in a circle.

    The checker wants that order. Converters that add nodes at the end, as to float16, leave another one, which others run.
    """
    graph = model.graph
    made = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    needs = {index: {made[name] for name in read_by(node) if name in made} - {index} for index, node in enumerate(graph.node)}
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError:
        return None
    ordered = onnx.ModelProto()
    ordered.CopyFrom(model)
    del ordered.graph.node[:]
    ordered.graph.node.extend(graph.node[index] for index in order)
    return ordered


def read_by(node: onnx.NodeProto) -> Iterator[str]:
    """Iterate over the names that a node reads, or its branches do."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield from (name for inner in attribute.g.node for name in read_by(inner))
            yield from (output.name for output in attribute.g.output)


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Return a copy in which inputs and outputs of unknown shape have one, None if there are none.

    ONNX's checker wants it; here, shapes follow from what is passed.
    """

    def bare(infos: Iterable[onnx.ValueInfoProto]) -> list[onnx.TypeProto.Tensor]:
        types = [info.type.tensor_type for info in infos if info.type.HasField("tensor_type")]
        return [tensor for tensor in types if not tensor.HasField("shape")]

    if not bare([*model.graph.input, *model.graph.output]):
        return None
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in bare([*copy.graph.input, *copy.graph.output]):
        tensor.shape.SetInParent()
    return copy


def _load_data(model: onnx.ModelProto, path: Path) -> None:
    """Read the tensors that are kept in other files beside the model's."""
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # ValidationError for files that are absent, others for wrong sizes
        absent = _absent_file(model, path.parent)
        if absent:
            raise ClconvError(
                f"{path} keeps tensors in the file {absent}, which is not beside it; put it into the same folder"
            ) from error
        raise ClconvError(
            f"the tensors that {path} keeps in other files cannot be read ({error}); export the model again"
        ) from error


def _absent_file(model: onnx.ModelProto, folder: Path) -> str:
    """Return the name of a file that tensors are kept in and that is not in a folder, ``""`` if there is none."""
    files = dict.fromkeys(filter(None, map(data_file, model.graph.initializer)))
    return next((name for name in files if not (folder / name).is_file()), "")


def data_file(tensor: onnx.TensorProto) -> str:
    """Return the name of the file that a tensor is kept in, ``""`` for one that is part of the model."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return ""
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _why_invalid(model: str | onnx.ModelProto) -> Exception | None:
    """Return what ONNX's checker says against a model or a file, None if it is content."""
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # ValidationError, and others for graphs that are no graphs
        return error
    return None
