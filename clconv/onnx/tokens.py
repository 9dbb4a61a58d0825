"""Passes for networks that take the pixels of an image for a sequence, and a sequence for an image, as SegFormer and PVT do.

A sequence is N, pixels, C, which is an image in N H W C; exports exchange its axes and look at the result as N C H W.
"""

from __future__ import annotations

from dataclasses import replace

from clconv.activation import ACTIVATIONS
from clconv.onnx.functions import UNARY, function_of
from clconv.onnx.graph import VIEWS, Change, Graph, Node, Shape, derived
from clconv.onnx.problems import TO_LAST
from clconv.onnx.rewrite import TO_FIRST, is_transpose


def functions_first(graph: Graph) -> Graph:
    """Compute a function before the moves and views between a convolution and it, so that the convolution can do it."""
    uses, made, change = graph.uses(), graph.producers(), Change(graph)
    earlier: dict[str, tuple[Node, str]] = {}  # by the output of a convolution: the function, and what it gives
    moved: set[str] = set()
    for node in graph.nodes:
        name, steps = node.input(0), 0
        while uses[name] == 1 and name in made and (made[name].op in VIEWS or made[name].op == "Transpose"):
            name, steps = made[name].inputs[0], steps + 1
        source = made.get(name)
        if node.op not in UNARY or not steps or source is None or source.op != "Conv" or uses[name] != 1:
            continue
        function = function_of(node, graph)
        if function is not None and function.kind in ACTIVATIONS:
            result = derived(node.output, "earlier")
            change.value(result, graph.shapes[name], graph.dtypes[name])
            earlier[name] = replace(node, inputs=(name, *node.inputs[1:]), outputs=(result,)), result
            moved.add(node.output)
    if not moved:
        return graph
    nodes = change.nodes
    for node in graph.nodes:
        if node.output in moved:
            nodes.append(Node("Identity", node.inputs[:1], node.outputs, {}, node.name))
            continue
        inputs = tuple(earlier[name][1] if name in earlier else name for name in node.inputs)
        nodes.append(replace(node, inputs=inputs))
        if node.output in earlier:
            nodes.append(earlier[node.output][0])
    return change.done(f"functions first: {len(moved)} computed before what moves their elements")


def images_of_tokens(graph: Graph) -> Graph:
    """Exchange the axes of images, between N H W C and N C H W, in place of those of sequences that images are looked at as."""
    uses, made = graph.uses(), graph.producers()
    change, count = Change(graph), 0

    def add(op: str, x: str, y: str, shape: Shape, name: str, perm: tuple[int, ...] = ()) -> None:
        change.nodes.append(Node(op, (x,), (y,), {"perm": perm} if perm else {}, name))
        change.value(y, shape, change.dtypes[x])

    for node in graph.nodes:
        before = made.get(node.inputs[0]) if node.inputs and uses[node.inputs[0]] == 1 else None
        pixels = derived(node.output, "pixels")
        whole = graph.shapes.get(node.output, ())
        if node.op in ("Reshape", "Unsqueeze") and is_transpose(before, (0, 2, 1)) and before is not None:
            n, c, length = graph.shapes[before.output]
            if len(whole) == 4 and whole[:2] == (n, c) and whole[2] * whole[3] == length:
                add("Reshape", before.inputs[0], pixels, (n, *whole[2:], c), node.name)
                add("Transpose", pixels, node.output, whole, node.name, TO_FIRST)
                count += 1
                continue
        if is_transpose(node, (0, 2, 1)) and before is not None and before.op in ("Reshape", "Flatten"):
            image = graph.shapes[before.inputs[0]]
            if len(image) == 4 and graph.shapes[before.output] == (*image[:2], image[2] * image[3]):
                add("Transpose", before.inputs[0], pixels, tuple(image[axis] for axis in TO_LAST), node.name, TO_LAST)
                add("Reshape", pixels, node.output, whole, node.name)
                count += 1
                continue
        change.nodes.append(node)
    note = f"images of tokens: {count} sequences looked at as images in N H W C" if count else ""
    return change.done(note)
