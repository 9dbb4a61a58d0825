"""Shapes that break kernels: tails, single elements, borders wider than the image, odd strides, dilation, groups."""

from __future__ import annotations

from typing import Any

from clconv.problem import ConvProblem

# name: (N, IC, IH, IW, OC, KH, KW, groups, options)
NASTY: dict[str, tuple[int, int, int, int, int, int, int, int, dict[str, Any]]] = {
    # standard
    "one_of_everything": (1, 1, 1, 1, 1, 1, 1, 1, {}),
    "one_pixel_3x3": (1, 3, 1, 1, 5, 3, 3, 1, {"padding": 1}),
    "resnet_like": (2, 16, 14, 14, 32, 3, 3, 1, {"padding": 1}),
    "seven": (1, 24, 7, 7, 40, 3, 3, 1, {"padding": 1}),
    "odd_channels": (2, 5, 9, 11, 7, 3, 3, 1, {"padding": 1}),
    "wide": (1, 3, 4, 67, 18, 3, 3, 1, {"padding": 1}),
    "tall": (1, 4, 61, 3, 9, 3, 3, 1, {"padding": 1}),
    "no_padding": (1, 8, 12, 13, 17, 3, 3, 1, {}),
    "asymmetric": (2, 6, 10, 9, 8, 3, 3, 1, {"padding": ((0, 2), (3, 1))}),
    "stem": (1, 3, 33, 35, 20, 7, 7, 1, {"padding": 3, "stride": 2}),
    "stride_2": (2, 8, 15, 16, 24, 3, 3, 1, {"padding": 1, "stride": 2}),
    "stride_3_2": (1, 4, 17, 19, 10, 3, 3, 1, {"padding": (1, 2), "stride": (3, 2)}),
    "stride_over_filter": (1, 4, 16, 17, 6, 2, 2, 1, {"stride": 5}),
    "dilation": (1, 5, 14, 15, 11, 3, 3, 1, {"padding": 2, "dilation": 2}),
    "dilation_3_1_stride_2": (1, 4, 18, 13, 8, 3, 3, 1, {"padding": (3, 1), "dilation": (3, 1), "stride": 2}),
    "even_filter": (2, 7, 9, 10, 6, 2, 4, 1, {"padding": ((1, 0), (1, 2))}),
    "row_filter": (1, 6, 5, 21, 9, 1, 7, 1, {"padding": (0, 3)}),
    "column_filter": (1, 6, 21, 5, 9, 5, 1, 1, {"padding": (2, 0)}),
    "filter_as_large_as_image": (3, 4, 5, 6, 10, 5, 6, 1, {}),
    "padding_wider_than_filter": (1, 3, 4, 5, 4, 3, 3, 1, {"padding": 4}),
    "same": (1, 4, 7, 10, 6, 4, 3, 1, {"padding": "same", "stride": 2}),
    # pointwise
    "pointwise": (2, 32, 14, 14, 48, 1, 1, 1, {}),
    "pointwise_odd": (1, 13, 7, 5, 19, 1, 1, 1, {}),
    "pointwise_one_pixel": (3, 40, 1, 1, 24, 1, 1, 1, {}),
    "pointwise_stride_2": (2, 16, 15, 13, 20, 1, 1, 1, {"stride": 2}),
    "pointwise_padded": (1, 6, 5, 4, 8, 1, 1, 1, {"padding": 1}),
    "pointwise_one_channel": (1, 1, 9, 9, 3, 1, 1, 1, {}),
    "pointwise_odd_half": (1, 31, 7, 6, 70, 1, 1, 1, {}),
    "pointwise_deep": (1, 130, 5, 5, 33, 1, 1, 1, {}),
    "pointwise_in_parts": (1, 1030, 1, 2, 24, 1, 1, 1, {}),
    "pointwise_in_odd_parts": (2, 1031, 5, 6, 70, 1, 1, 1, {}),
    # grouped
    "grouped_4": (1, 32, 13, 17, 32, 3, 3, 8, {"padding": 1}),
    "grouped_8_stride_2": (2, 32, 14, 14, 32, 3, 3, 4, {"padding": 1, "stride": 2}),
    "grouped_pairs": (2, 6, 5, 6, 6, 3, 3, 3, {"padding": 1}),
    "grouped_pairs_many": (1, 34, 3, 4, 34, 3, 3, 17, {"padding": 1}),
    "grouped_4_stride_2": (1, 12, 9, 10, 12, 3, 2, 3, {"padding": ((0, 1), (2, 0)), "stride": (1, 2), "dilation": (2, 1)}),
    "grouped_16": (1, 32, 14, 14, 32, 3, 3, 2, {"padding": 1}),
    "grouped_32_at_7": (1, 64, 7, 7, 64, 3, 3, 2, {"padding": 1}),
    "grouped_uneven": (2, 6, 8, 9, 15, 3, 3, 3, {"padding": 1}),
    "grouped_3_to_5": (1, 9, 7, 20, 15, 3, 3, 3, {"padding": ((2, 0), (0, 1))}),
    "grouped_5x5_dilated": (1, 8, 19, 18, 12, 5, 5, 2, {"padding": 3, "dilation": 2}),
    "grouped_by_3": (1, 21, 8, 15, 21, 3, 3, 7, {"padding": 1}),
    "grouped_by_5_stride_2": (2, 40, 9, 13, 40, 3, 3, 8, {"padding": 1, "stride": 2}),
    "grouped_by_12": (1, 36, 7, 9, 36, 3, 3, 3, {"padding": ((0, 1), (1, 2))}),
    "grouped_deep": (1, 20, 5, 4, 6, 3, 3, 2, {"padding": 1}),
    "grouped_5x5": (1, 16, 16, 15, 16, 5, 5, 2, {"padding": 2}),
    "grouped_1x1": (2, 12, 9, 7, 20, 1, 1, 4, {}),
    "grouped_1x1_stride_2": (1, 8, 9, 8, 12, 1, 1, 2, {"stride": 2}),
    "grouped_2x13_stride_2": (2, 6, 5, 37, 9, 2, 13, 3, {"padding": ((0, 1), (6, 5)), "stride": (1, 2)}),
    # depthwise
    "depthwise": (2, 12, 14, 15, 12, 3, 3, 12, {"padding": 1}),
    "depthwise_at_7": (1, 33, 7, 7, 33, 3, 3, 33, {"padding": 1}),
    "depthwise_stride_2": (2, 10, 17, 16, 10, 3, 3, 10, {"padding": 1, "stride": 2}),
    "depthwise_stride_2_wide": (1, 3, 9, 75, 3, 3, 3, 3, {"padding": 1, "stride": 2}),
    "depthwise_multiplier": (1, 5, 9, 10, 15, 3, 3, 5, {"padding": 1}),
    "depthwise_5x5": (1, 9, 12, 21, 9, 5, 5, 9, {"padding": 2}),
    "depthwise_stride_3": (1, 10, 20, 53, 10, 3, 3, 10, {"padding": 1, "stride": 3}),
    "depthwise_stride_4": (2, 3, 9, 75, 3, 2, 5, 3, {"padding": ((0, 1), (3, 2)), "stride": (1, 4), "dilation": (1, 2)}),
    "grouped_stride_3": (1, 12, 13, 31, 12, 3, 3, 3, {"padding": 2, "stride": 3}),
    "grouped_stride_4": (2, 8, 11, 70, 12, 3, 4, 4, {"padding": 1, "stride": (2, 4), "dilation": (1, 2)}),
    "depthwise_7x7_stride_3": (1, 4, 23, 22, 4, 7, 7, 4, {"padding": 3, "stride": 3}),
    "grouped_stride_5": (2, 6, 11, 33, 15, 3, 4, 3, {"padding": ((1, 0), (2, 3)), "stride": (2, 5)}),
    "grouped_5x5_stride_3": (1, 12, 14, 71, 20, 5, 5, 4, {"padding": 3, "stride": (4, 3), "dilation": 2}),
    "grouped_stride_3_large": (1, 4, 31, 600, 4, 3, 3, 2, {"padding": 1, "stride": 3}),
    "depthwise_stride_3_large": (1, 2, 31, 1200, 2, 3, 3, 2, {"padding": 1, "stride": 3}),
    "depthwise_stride_5": (2, 3, 11, 33, 6, 3, 4, 3, {"padding": ((1, 0), (2, 3)), "stride": (2, 5)}),
    "depthwise_stride_6": (1, 5, 16, 131, 5, 5, 5, 5, {"padding": ((3, 5), (7, 6)), "stride": (3, 6), "dilation": (2, 3)}),
    "depthwise_stride_7": (3, 7, 30, 29, 7, 3, 3, 7, {"padding": 1, "stride": 7}),
    "depthwise_stride_13": (1, 4, 14, 15, 4, 2, 9, 4, {"padding": (0, 5), "stride": (1, 13)}),
    "depthwise_dilated": (1, 8, 15, 14, 8, 3, 3, 8, {"padding": 3, "dilation": 3}),
    "depthwise_one_pixel": (1, 17, 1, 1, 17, 3, 3, 17, {"padding": 1}),
    "depthwise_asymmetric": (1, 9, 8, 30, 9, 3, 2, 9, {"padding": ((2, 0), (0, 1))}),
    "depthwise_padded_far": (2, 9, 8, 12, 9, 3, 3, 9, {"padding": ((4, 5), (3, 1))}),
    "depthwise_narrow": (1, 3, 40, 2, 6, 3, 3, 3, {"padding": 1}),
    "depthwise_narrow_stride_2": (4, 40, 17, 11, 120, 3, 4, 40, {"padding": ((1, 1), (0, 3)), "stride": 2}),
    "depthwise_1x1": (2, 8, 6, 7, 8, 1, 1, 8, {}),
    "depthwise_13x13": (2, 9, 15, 22, 9, 13, 13, 9, {"padding": 6}),
    "depthwise_row_of_35": (2, 5, 9, 23, 10, 1, 35, 5, {"padding": (0, 34), "dilation": (1, 2)}),
    "depthwise_12x13_stride_2": (1, 18, 19, 35, 18, 12, 13, 18, {"padding": ((5, 7), (9, 4)), "stride": 2}),
    "depthwise_12x3": (1, 3, 6, 5, 3, 12, 3, 3, {"padding": ((3, 9), (0, 2))}),
    "depthwise_3x17_dilated": (1, 3, 7, 9, 3, 3, 17, 3, {"padding": ((2, 3), (24, 25)), "dilation": (2, 3), "stride": (2, 1)}),
}

EPILOGUES: tuple[dict[str, Any], ...] = (
    {"bias": True, "activation": "relu"},
    {"bias": True, "residual": True, "activation": ("clip", -0.5, 2)},
    {"residual": True, "activation": "hardswish"},
    {"activation": ("leaky_relu", 0.1)},
    {"bias": True, "activation": "silu"},
    {"activation": "sigmoid"},
    {"bias": True, "activation": "tanh"},
    {"activation": "relu6"},
    {"bias": True, "activation": "hardsigmoid"},
    {"bias": True, "activation": "gelu"},
    {"residual": True, "activation": "gelu_tanh"},
    {"bias": True, "activation": ("scaled_hardswish", -0.8, 0.3)},
)

SMALL = (
    "one_pixel_3x3", "odd_channels", "asymmetric", "stride_3_2", "dilation_3_1_stride_2", "even_filter", "pointwise_odd",
    "pointwise_stride_2", "grouped_uneven", "grouped_3_to_5", "grouped_1x1_stride_2", "depthwise_at_7",
    "depthwise_multiplier", "depthwise_asymmetric", "depthwise_narrow", "grouped_pairs", "grouped_4_stride_2",
    "grouped_deep", "grouped_by_3", "grouped_by_12", "depthwise_3x17_dilated", "depthwise_12x3",
    "grouped_1x1", "depthwise_1x1", "depthwise_stride_5", "grouped_stride_5",
)  # fmt: skip
"""Shapes small enough for a simulator."""


def problem_of(name: str, *, layout: str = "NCHW", dtype: str = "float32", **epilogue: Any) -> ConvProblem:
    """Return a nasty problem in a layout and element type."""
    n, ic, ih, iw, oc, kh, kw, groups, options = NASTY[name]
    nchw = layout == "NCHW"
    x_shape = (n, ic, ih, iw) if nchw else (n, ih, iw, ic)
    w_shape = (oc, ic // groups, kh, kw) if nchw else (kh, kw, ic // groups, oc)
    return ConvProblem(x_shape, w_shape, groups=groups, layout=layout, dtype=dtype, **options, **epilogue)
