"""The words that an attribute may be, which ONNX's own checks do not look at."""

from __future__ import annotations

from dataclasses import replace

from clconv.errors import UnsupportedError
from clconv.onnx.graph import Graph

_AUTO_PAD: dict[str, tuple[str, ...]] = {"auto_pad": ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")}
_BLOCKS: dict[str, tuple[str, ...]] = {"mode": ("DCR", "CRD")}

_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "AveragePool": _AUTO_PAD,
    "Conv": _AUTO_PAD,
    "ConvTranspose": _AUTO_PAD,
    "DepthToSpace": _BLOCKS,
    "Gelu": {"approximate": ("none", "tanh")},
    "GridSample": {
        "mode": ("linear", "bilinear", "nearest", "cubic", "bicubic"),
        "padding_mode": ("zeros", "border", "reflection"),
    },
    "MaxPool": _AUTO_PAD,
    "Pad": {"mode": ("constant", "reflect", "edge", "wrap")},
    "Resize": {
        "mode": ("nearest", "linear", "cubic"),
        "nearest_mode": ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
        "keep_aspect_ratio_policy": ("stretch", "not_larger", "not_smaller"),
    },
    "SpaceToDepth": _BLOCKS,
}
"""By node and attribute; how a Resize maps coordinates is told where it is done."""


def check_words(graph: Graph) -> Graph:
    """Refuse an unknown word, in whose place another one would be taken for granted; an empty ``auto_pad`` is none.

    Raises
    ------
    UnsupportedError
        Naming the node and the attribute.
    """
    nodes = []
    for node in graph.nodes:
        if node.text("auto_pad", "-") == "":
            node = replace(node, attributes={k: v for k, v in node.attributes.items() if k != "auto_pad"})
        nodes.append(node)
        for attribute, words in _WORDS.get(node.op, {}).items():
            word = node.text(attribute, words[0])
            if word not in words:
                raise UnsupportedError(
                    f"the node {node.name!r} ({node.op}) has the {attribute} {word!r}; use one of {', '.join(words)}"
                )
    return graph.with_nodes(nodes)
