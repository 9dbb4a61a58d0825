"""Problems written by people: in words, or in the notation of oneDNN's benchmark tool."""

from __future__ import annotations

import re
from typing import Any

from clconv.activation import ACTIVATIONS, Activation
from clconv.errors import ShapeError
from clconv.problem import DTYPES, LAYOUTS, ConvProblem

_DESCRIPTOR = re.compile(r"(?:(?:g|mb|ic|ih|iw|oc|oh|ow|kh|kw|sh|sw|ph|pw|dh|dw)\d+)+")
_PART = re.compile(r"(g|mb|ic|ih|iw|oc|oh|ow|kh|kw|sh|sw|ph|pw|dh|dw)(\d+)")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?inf")
_NUMBERS = {"leaky_relu": "0.1", "clip": "0 6", "scaled_hardswish": "0.9 -0.1"}
"""Activations that numbers follow, with examples of those."""
_HELP = 'write it like "3x3 64->128 @56 stride 2 pad 1 groups 32 nhwc relu" or "g32ic128ih56oc128oh56kh3ph1"'


def parse(text: str) -> ConvProblem:
    """Read a problem.

    Parameters
    ----------
    text : str
        In oneDNN's notation, ``"g32ic128ih56oc128oh56kh3ph1"`` (what is missing for the width equals the height's; the batch
        is 1; ``dh0`` is no dilation), or in words: ``"3x3 64->128 @56 stride 2"`` with any of ``pad N``, ``pad same``,
        ``dilation N``, ``groups N``, ``batch N``, ``depthwise``, ``pointwise``, ``bias``, ``residual``, a layout, an element
        type, an activation with its numbers (``leaky_relu 0.1``, ``clip 0 6``). For N, ``stride``, ``pad`` and ``dilation``
        take ``2x1`` as well, along height and width. Without ``pad``, words mean half the filter. Layout, type and the like
        may follow the notation too.

    Returns
    -------
    ConvProblem

    Raises
    ------
    ShapeError
        If the text cannot be read, contradicts itself, or the numbers do not fit together.
    """
    words = text.replace(",", " ").lower().split()
    if not words:
        raise ShapeError(f"the problem is empty; {_HELP}")
    if long := next((word for word in words if re.search(r"\d{20}", word)), None):
        raise ShapeError(f"{long[:20]!r}... has a number of more digits than any size has; {_HELP}")
    if _DESCRIPTOR.fullmatch(words[0]):
        return _from_descriptor(words[0], _options(words[1:]))
    return _from_words(words)


def _put(options: dict[str, Any], name: str, value: object) -> None:
    """Note what a word says, unless an earlier one said something else."""
    if options.setdefault(name, value) != value:
        raise ShapeError(f"the {name} is given twice, as {options[name]} and as {value}; leave one out")


def _options(words: list[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    words = words.copy()
    while words:
        word = words.pop(0)
        if word.upper() in LAYOUTS:
            _put(options, "layout", word.upper())
        elif word in DTYPES:
            _put(options, "dtype", word)
        elif word in ACTIVATIONS:
            _put(options, "activation", _activation(word, words))
        elif word in ("bias", "residual"):
            options[word] = True
        else:
            raise ShapeError(f"the word {word!r} is not understood; {_HELP}")
    return options


def _activation(name: str, words: list[str]) -> Activation:
    """Read an activation, and take the numbers that belong to it from the words behind its name."""
    example = _NUMBERS.get(name, "")
    count = len(example.split())
    numbers = words[:count]
    del words[:count]
    if len(numbers) < count or not all(map(_NUMBER.fullmatch, numbers)):
        got = repr(" ".join(numbers)) if numbers else "nothing"
        takes = "a number" if count == 1 else f"{count} numbers"
        raise ShapeError(f'{name} is followed by {got}, it takes {takes}; write it like "{name} {example}"')
    return Activation.of((name, *map(float, numbers)))


def _problem(n: int, ic: int, size: tuple[int, int], oc: int, filt: tuple[int, int], **options: Any) -> ConvProblem:
    groups = options.get("groups", 1)
    per_group = ic // groups if groups and ic % groups == 0 else ic
    if options.get("layout") == "NHWC":
        return ConvProblem((n, *size, ic), (*filt, per_group, oc), **options)
    return ConvProblem((n, ic, *size), (oc, per_group, *filt), **options)


def _from_descriptor(word: str, options: dict[str, Any]) -> ConvProblem:
    v: dict[str, Any] = {}
    for name, number in _PART.findall(word):
        _put(v, name, int(number))
    for need in ("ic", "ih", "oc", "kh"):
        if need not in v:
            raise ShapeError(f"{word!r} lacks {need}; {_HELP}")
    if "ow" in v and "oh" not in v:
        raise ShapeError(f"{word!r} gives ow{v['ow']} and no oh; give both, or leave both out")

    def pair(h: str, w: str, default: int) -> tuple[int, int]:
        return v.get(h, default), v.get(w, v.get(h, default))

    dilation = pair("dh", "dw", 0)
    problem = _problem(
        v.get("mb", 1), v["ic"], pair("ih", "iw", 0), v["oc"], pair("kh", "kw", 0),
        stride=pair("sh", "sw", 1), padding=pair("ph", "pw", 0), dilation=(dilation[0] + 1, dilation[1] + 1),
        groups=v.get("g", 1), **options,
    )  # fmt: skip
    want = pair("oh", "ow", problem.OH)
    if "oh" in v and want != (problem.OH, problem.OW):
        # oneDNN lets the output's size imply the padding at the end.
        ends = tuple(
            (begin, (out - 1) * stride + span - size - begin)
            for begin, out, stride, span, size in (
                (problem.PT, want[0], problem.SH, problem.EKH, problem.IH),
                (problem.PL, want[1], problem.SW, problem.EKW, problem.IW),
            )
        )
        if min(ends[0][1], ends[1][1]) < 0:
            raise ShapeError(f"{word!r} gives oh{want[0]}ow{want[1]}, its other numbers give oh{problem.OH}ow{problem.OW}")
        return ConvProblem(
            problem.x_shape, problem.w_shape, stride=problem.stride, padding=ends, dilation=problem.dilation,
            groups=problem.groups, **options,
        )  # fmt: skip
    return problem


def _from_words(words: list[str]) -> ConvProblem:
    text = re.sub(r"\s*->\s*", "->", " ".join(words))
    text = re.sub(r"@\s*|\bat\s+", "@", text)
    v: dict[str, Any] = {}
    options: dict[str, Any] = {}
    rest: list[str] = []
    tokens = text.split()
    names = {"pad": "padding", **{n: n for n in ("stride", "padding", "dilation", "groups", "batch")}}
    while tokens:
        token = tokens.pop(0)
        if match := re.fullmatch(r"(\d+)x(\d+)", token):
            _put(v, "filter", (int(match[1]), int(match[2])))
        elif match := re.fullmatch(r"(\d+)->(\d+)", token):
            _put(v, "channels", (int(match[1]), int(match[2])))
        elif match := re.fullmatch(r"@(\d+)(?:x(\d+))?", token):
            _put(v, "size", (int(match[1]), int(match[2] or match[1])))
        elif token in names:
            _put(options, names[token], _value(token, tokens.pop(0) if tokens else ""))
        elif token in ("depthwise", "pointwise"):
            v[token] = True
        else:
            rest.append(token)
    options.update(_options(rest))
    if "channels" not in v or "size" not in v or not ("filter" in v or "pointwise" in v):
        raise ShapeError(f"{' '.join(words)!r} lacks the channels, the image size or the filter; {_HELP}")
    filt = v.get("filter", (1, 1))
    (ic, oc), dilation = v["channels"], options.get("dilation", 1)
    dilations = dilation if isinstance(dilation, tuple) else (dilation, dilation)
    if "pointwise" in v and filt != (1, 1):
        raise ShapeError(f"a pointwise convolution has a 1x1 filter, got {filt[0]}x{filt[1]}; leave one of the two out")
    if "depthwise" in v and options.setdefault("groups", ic) != ic:
        raise ShapeError(f"depthwise means a group per input channel, {ic}, got groups {options['groups']}; leave one out")
    options.setdefault("padding", tuple((k - 1) * d // 2 for k, d in zip(filt, dilations, strict=True)))
    return _problem(options.pop("batch", 1), ic, v["size"], oc, filt, **options)


def _value(name: str, text: str) -> int | str | tuple[int, int]:
    if text.isascii() and text.isdigit():
        return int(text)
    if name in ("stride", "pad", "padding", "dilation") and (match := re.fullmatch(r"([0-9]+)x([0-9]+)", text)):
        return (int(match[1]), int(match[2]))
    if name in ("pad", "padding") and text in ("same", "same_lower", "valid"):
        return text
    takes = "a number" if name in ("groups", "batch") else "a number, or two as in 2x1"
    raise ShapeError(f"{name} is followed by {text!r}, it takes {takes}; {_HELP}")
