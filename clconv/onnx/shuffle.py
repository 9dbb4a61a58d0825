"""The pass for ShuffleNet's channel shuffle: six nodes that move each element up to three times become one."""

from __future__ import annotations

from clconv.onnx.graph import Graph, Node, Shape

_PERM = [0, 2, 1, 3, 4]  # N, 2, C, H, W


def fuse_shuffle(graph: Graph) -> Graph:
    """Make one node of two images whose channels are dealt out in turn, and of the halves of the result.

    It stands for Concat, Reshape, Transpose, Reshape, and two Slices or a Split that halve the channels, if nobody reads
    anything else of them.
    """
    made, uses = graph.producers(), graph.uses()
    aliases = dict(graph.aliases)
    new: dict[str, Node] = {}  # by the output of the Transpose in whose place it comes
    gone: set[str] = set()
    for node in graph.nodes:
        concat = made.get(graph.root(node.inputs[0])) if node.op == "Transpose" else None
        if concat is None or not _pairs(node, concat, graph):
            continue
        before, after = _names(node.inputs[0], aliases), [n for n, source in aliases.items() if source == node.output]
        if len(after) != 1 or any(uses[name] != 1 for name in (*before, node.output)):
            continue
        image = after[0]
        if graph.shapes[image] != _whole(graph.shapes[concat.inputs[0]]):
            continue
        halves = _halves(image, graph) if uses[image] == 2 else []
        outputs = tuple(output for half in halves for output in half.outputs) or (image,)
        gone |= {concat.output, *outputs}
        new[node.output] = Node("Shuffle", concat.inputs, outputs, {}, concat.name)
        del aliases[image]
    nodes = [new.get(n.output, n) for n in graph.nodes if n.output not in gone]
    note = f"fuse shuffle: {len(new)} channel shuffles made one node each" if new else ""
    return graph.with_nodes(nodes, note, aliases=aliases)


def _whole(shape: Shape) -> Shape:
    """Return the shape of both images together."""
    return (shape[0], 2 * shape[1], *shape[2:])


def _pairs(transpose: Node, concat: Node, graph: Graph) -> bool:
    """Whether a transposition swaps the two images of a concatenation with their channels."""
    if concat.op != "Concat" or len(concat.inputs) != 2 or any(name in graph.constants for name in concat.inputs):
        return False
    first, second = (graph.shapes[name] for name in concat.inputs)
    return (
        len(first) == 4
        and first == second
        and int(concat.attributes["axis"]) % 4 == 1
        and graph.shapes[transpose.inputs[0]] == (first[0], 2, *first[1:])
        and [int(axis) for axis in transpose.get("perm", ())] == _PERM
    )


def _names(name: str, aliases: dict[str, str]) -> list[str]:
    """Return a value's names, back to the one that a node computes."""
    names = [name]
    while names[-1] in aliases:
        names.append(aliases[names[-1]])
    return names


def _halves(image: str, graph: Graph) -> list[Node]:
    """Return the nodes that read the first and the second half of an image's channels; nothing if others read it."""
    readers = [node for node in graph.nodes if image in node.inputs]
    channels = graph.shapes[image][1] // 2
    if channels % 2 or len(readers) != 2 or any(node.op != "Slice" for node in readers):
        return []
    first = [_starts_at(node, graph, channels) for node in readers]
    return [readers[first.index(0)], readers[first.index(channels)]] if sorted(first) == [0, channels] else []


def _starts_at(node: Node, graph: Graph, channels: int) -> int:
    """Return the channel at which a Slice of so many channels begins; -1 if it is anything else."""
    starts, axes, steps = (graph.constant(node.input(i)) for i in (1, 3, 4))
    if starts is None or axes is None or axes.tolist() not in ([1], [-3]) or (steps is not None and steps.tolist() != [1]):
        return -1
    if graph.shapes[node.output][1] != channels:
        return -1
    start = int(starts[0])
    return start + 2 * channels if start < 0 else start
