from __future__ import annotations

from typing import Any

import pytest

from clconv import Activation, ConvProblem, ShapeError, UnsupportedError
from clconv.notation import parse


def test_the_document_s_formulas() -> None:
    standard = ConvProblem((1, 64, 56, 56), (128, 64, 3, 3), padding=1)
    grouped = ConvProblem((1, 64, 56, 56), (128, 2, 3, 3), padding=1, groups=32)
    depthwise = ConvProblem((1, 64, 56, 56), (64, 1, 3, 3), padding=1, groups=64)
    pointwise = ConvProblem((1, 64, 56, 56), (128, 64, 1, 1))
    assert standard.parameters == 3 * 3 * 64 * 128  # (1)
    assert grouped.parameters * 32 == standard.parameters  # (2)
    assert depthwise.parameters + pointwise.parameters == 3 * 3 * 64 + 128 * 64  # (3)
    assert [p.kind for p in (standard, grouped, depthwise, pointwise)] == ["standard", "grouped", "depthwise", "pointwise"]
    assert standard.flops == 2 * 56 * 56 * standard.parameters
    assert pointwise.bytes == 4 * (64 * 56 * 56 + 128 * 64 + 128 * 56 * 56)


@pytest.mark.parametrize(
    ("padding", "stride", "size", "want", "out"),
    [
        (0, 1, 7, (0, 0), 5),
        ("valid", 2, 8, (0, 0), 3),
        ("same", 1, 7, (1, 1), 7),
        ("same", 2, 8, (0, 1), 4),
        ("same_lower", 2, 8, (1, 0), 4),
        ("same", 3, 7, (1, 1), 3),
        ((2, 2), 1, 7, (2, 2), 9),
        (((2, 0), (2, 0)), 1, 7, (2, 0), 7),
    ],
)
def test_padding(padding: Any, stride: int, size: int, want: tuple[int, int], out: int) -> None:
    p = ConvProblem((1, 1, size, size), (1, 1, 3, 3), padding=padding, stride=stride)
    assert (*p.padding,) == (want, want)
    assert (p.OH, p.OW) == (out, out)


def test_layouts_agree() -> None:
    a = ConvProblem((2, 6, 9, 10), (8, 3, 3, 5), groups=2, stride=2, padding=1)
    b = ConvProblem((2, 9, 10, 6), (3, 5, 3, 8), groups=2, stride=2, padding=1, layout="NHWC")
    for name in ("N", "IC", "IH", "IW", "OC", "KH", "KW", "ICG", "OCG", "OH", "OW", "kind", "parameters", "flops", "bytes"):
        assert getattr(a, name) == getattr(b, name), name
    assert b.output_shape == (2, a.OH, a.OW, 8)


def test_problems_are_values() -> None:
    a = ConvProblem((1, 4, 8, 8), (4, 4, 3, 3), stride=[2, 2], padding=(1, 1))
    b = ConvProblem((1, 4, 8, 8), (4, 4, 3, 3), stride=2, padding=((1, 1), (1, 1)))
    assert a == b
    assert hash(a) == hash(b)
    assert a.with_batch(7).N == 7


BAD: list[tuple[dict[str, Any], str]] = [
    ({"groups": 3}, "groups=3 must divide the 64 input channels"),
    ({"groups": 0}, "groups=0 must be at least 1"),
    ({"groups": 1.5}, "groups=1.5 must be an integer"),
    ({"groups": True}, "groups=True must be an integer"),
    ({"groups": 2}, "32 each"),
    ({"stride": 0}, "stride=0 must be at least 1"),
    ({"stride": (1, 2, 3)}, "one integer or two"),
    ({"stride": "2"}, "must be one integer or two, for height and width"),
    ({"stride": 2**31}, "stride=2147483648 must not exceed 2147483647"),
    ({"dilation": -1}, "dilation=-1 must be at least 1"),
    ({"dilation": 9}, "exceeds the padded image"),
    ({"padding": -1}, "padding=-1 must be at least 0"),
    ({"padding": "full"}, "'full' is unknown"),
    ({"padding": None}, "padding=None must be an integer, (h, w), ((top, bottom), (left, right)), "),
    ({"padding": (1, (1, 1))}, "must be an integer, (h, w), ((top, bottom), (left, right)), "),
    ({"padding": (1, 1, 1, 1)}, "must be an integer, (h, w), ((top, bottom), (left, right)), "),
    ({"padding": 2**30}, "the image's height 8 and its padding 2147483648 must not exceed 2147483647 together"),
    ({"padding": ((1, 1), (1, -1))}, "must be at least 0"),
    ({"layout": "NCWH"}, "layout 'NCWH' is unknown; use one of NCHW, NHWC"),
    ({"dtype": "int8"}, "'int8' is not supported"),
    ({"dtype": ["float32"]}, "['float32'] is not supported"),
    ({"activation": "swish"}, "use None or one of relu"),
    ({"activation": ("clip", 1)}, "takes 2"),
    ({"activation": ("clip", 2, 1)}, "swap them"),
    ({"activation": ("clip", float("nan"), 1)}, "replace the NaN"),
    ({"activation": ("leaky_relu", "a")}, "plain numbers"),
    ({"activation": "leaky_relu"}, "takes 1"),
    ({"x_shape": (1, 64, 8)}, "only 2-D"),
    ({"x_shape": (1, 64, -8, 8)}, "negative size"),
    ({"x_shape": (1, 64, 0, 8)}, "IH=0"),
    ({"x_shape": (1, 3, 8, 8)}, "the filter takes 64 input channels"),
    ({"x_shape": 5}, "sequence of 4 integers"),
    ({"w_shape": (16, 64, 9, 3)}, "height 9"),
    ({"w_shape": (16, 64, 3)}, "only 2-D"),
    ({"w_shape": (16, 64)}, "give it the 4 axes"),
    ({"w_shape": (0, 64, 3, 3)}, "OC=0"),
]


@pytest.mark.parametrize(("change", "words"), BAD, ids=[str(c) for c, _ in BAD])
def test_bad_numbers_get_one_sentence(change: dict[str, Any], words: str) -> None:
    options: dict[str, Any] = {"x_shape": (1, 64, 8, 8), "w_shape": (16, 64, 3, 3), **change}
    with pytest.raises((ShapeError, UnsupportedError)) as caught:
        ConvProblem(**options)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message


def test_activation_reads_what_callers_write() -> None:
    assert Activation.of(None) == Activation()
    assert Activation.of(("clip", 0, 6)) == Activation("clip", 0.0, 6.0)
    assert str(Activation.of(("leaky_relu", 0.1))) == "leaky_relu 0.1"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("3x3 64->128 @56 stride 2", "ic64ih56oc128oh28kh3sh2ph1"),
        ("3x3 128 -> 128 at 56 groups 32", "g32ic128ih56oc128oh56kh3ph1"),
        ("3x3 32->32 @112x96 depthwise batch 4", "g32mb4ic32ih112iw96oc32kh3ph1"),
        ("pointwise 16->8 @7", "ic16ih7oc8kh1"),
        ("5x3 4->4 @20 pad 0 dilation 2", "ic4ih20oc4kh5kw3dh1"),
        ("pointwise 1x1 16->8 @7", "ic16ih7oc8kh1"),
        ("3x3 4->4 @8 depthwise groups 4", "g4ic4ih8oc4kh3ph1"),
        ("3x3 4->4 @8 clip 0, 6", "ic4ih8oc4kh3ph1 clip 0 6"),
        ("3x5 4->4 @20x24 stride 2x1 dilation 1x3 pad 1x0", "ic4ih20iw24oc4kh3kw5sh2sw1dh0dw2ph1pw0"),
        ("3x5 4->4 @20 dilation 1x3", "ic4ih20oc4kh3kw5dh0dw2ph1pw6"),
        ("3x3 4->4 @8 nhwc float16 relu bias", "ic4ih8oc4kh3ph1 nhwc float16 relu bias"),
    ],
)
def test_words_and_notation_mean_the_same(text: str, same: str) -> None:
    assert parse(text) == parse(same)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pointwise 3x3 4->4 @8", "a pointwise convolution has a 1x1 filter, got 3x3"),
        ("3x3 4->4 @8 depthwise groups 2", "a group per input channel, 4, got groups 2"),
        ("ic4ih8oc4kh3ow3", "gives ow3 and no oh"),
        ("ic4ih8oc4kh3ic8", "the ic is given twice, as 4 and as 8"),
        ("3x3 5x5 4->4 @8", r"the filter is given twice, as \(3, 3\) and as \(5, 5\)"),
        ("3x3 4->4 @8 pad 1 padding 0", "the padding is given twice"),
        ("3x3 4->4 @8 nchw nhwc", "the layout is given twice, as NCHW and as NHWC"),
        ("ic4ih8oc4kh3 relu tanh", "the activation is given twice, as relu and as tanh"),
        ("3x3 4->4 @8 leaky_relu", 'leaky_relu is followed by nothing, it takes a number; write it like "leaky_relu 0.1"'),
        ("3x3 4->4 @8 clip 0 bias", "clip is followed by '0 bias', it takes 2 numbers; write it like \"clip 0 6\""),
        ("3x3 4->4 @8 clip 6 0", "swap them"),
        ("3x3 4->4 @8 pad 1x1x1", "pad is followed by '1x1x1', it takes a number, or two as in 2x1"),
        ("3x3 4->4 @8 groups 2x2", "groups is followed by '2x2', it takes a number"),
        ("3x3 4->4 @8 stride 2x0", r"stride=\(2, 0\) must be at least 1"),
        ("3x3 4->4 @8 relu 6", "the word '6' is not understood"),
    ],
)
def test_no_word_is_ignored(text: str, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        parse(text)


def test_activations_with_numbers_in_words() -> None:
    assert parse("3x3 4->4 @8 leaky_relu 0.1 bias").activation == Activation("leaky_relu", 0.1)
    assert parse("ic4ih8oc4kh3 clip -1 inf nhwc").activation == Activation("clip", -1.0, float("inf"))
    assert parse("1x1 4->4 @8 scaled_hardswish 2 -1").activation == Activation("scaled_hardswish", 2.0, -1.0)


def test_notation_of_a_problem_can_be_read_again() -> None:
    problem = ConvProblem((2, 8, 9, 10), (12, 4, 3, 5), groups=2, stride=(2, 1), padding=(1, 2), dilation=(1, 2))
    assert parse(str(problem)) == problem


def test_the_output_size_may_imply_padding_at_the_end() -> None:
    assert parse("ic4ih8oc4oh4kh3sh2ph0").padding == ((0, 1), (0, 1))


@pytest.mark.parametrize(
    "text",
    [
        *("", "3x3", "64->64", "3x3 64->64 @8 banana", "3x3 4->4 @8 stride", "g2ic4ih8", "ic4ih8oc4oh2kh3"),
        *("3x3 4->4 @8 stride ²", f"3x3 4->4 @{'8' * 5000}", f"ic4ih{'8' * 5000}oc4kh3"),
    ],
)
def test_unreadable_problems_get_one_sentence(text: str) -> None:
    with pytest.raises(ShapeError, match=r"write it like|its other numbers give") as caught:
        parse(text)
    assert "\n" not in str(caught.value)
