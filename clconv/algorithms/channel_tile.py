"""Host side of kernels/include/channel_tile.clh: how a convolution is cut into work-items, panels and register tiles."""

from __future__ import annotations

from dataclasses import dataclass

from clconv.algorithms.base import (
    accumulator_bytes,
    ahead,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    scattered_cycles,
    size_arguments,
)
from clconv.algorithms.items import few_items
from clconv.algorithms.packing import pack_filter
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Plan
from clconv.problem import ConvProblem

TILES = ((2, 6), (1, 8), (3, 4))
"""Register tiles for 16 registers: vectors of output channels, pixels."""

WIDE_TILES = ((2, 14), (2, 7), (1, 14))
"""Register tiles for 32 registers."""

BOOST = 1.3
"""The clock at work over the one that drivers report."""

HEAVY = 1.05
"""The same of Intel's servers with AMX, which run slower while they use AVX-512."""

START = 120.0
"""Clock cycles of a pass over a register tile before its first multiply-add and after the last one: with sixteen registers,
measured on two Zen 3 cores."""

WIDE_START = 30.0
"""The same with thirty-two, on two Zen 4 cores."""

MOST_LATE = 20e3
"""Most clock cycles that a unit waits for the last work-item of another."""

RUNS = 12
"""Most tap lists of a work-item: MAX_RUNS of kernels/include/tile_tables.clh."""


@dataclass(frozen=True)
class Cut:
    """How a problem is cut.

    Parameters
    ----------
    wide : bool
        Use AVX-512, see kernels/include/wide.clh.
    lanes : int
        Output channels in a vector.
    nv, px : int
        Register tile: vectors of output channels, pixels.
    pixels : int
        Pixels of a work-item.
    blocks : int
        Blocks of ``nv`` vectors of output channels of a work-item.
    ic_block : int
        Input channels in the panel at once.
    groups : int
        Groups of a work-item.
    """

    wide: bool
    lanes: int
    nv: int
    px: int
    pixels: int
    blocks: int
    ic_block: int
    groups: int = 1

    @property
    def oc_block(self) -> int:
        """Output channels of a register tile."""
        return self.nv * self.lanes


@dataclass(frozen=True)
class Panel:
    """Where an element of the panel stands, in elements: ``c*cs + row*rs + col*ps``; and all of it, in bytes."""

    cs: int
    rs: int
    ps: int
    bytes: int


def lanes_of(problem: ConvProblem, device: DeviceInfo) -> int:
    """Elements of a vector of sums that the driver's compiler uses by itself."""
    return max(2, device.lanes(accumulator_bytes(problem)))


def tiles_of(problem: ConvProblem, device: DeviceInfo) -> list[tuple[bool, int, int, int]]:
    """Register tiles worth a look: the first four fields of :class:`Cut`."""
    lanes = lanes_of(problem, device)
    narrow = [(False, lanes, *tile) for tile in TILES]
    if not wide(problem, device):
        return narrow
    lanes = 64 // accumulator_bytes(problem)
    vectors = ceil_div(problem.OCG, lanes)
    spread = [(True, lanes, *tile) for tile in WIDE_TILES if tile[0] <= vectors]
    return spread if vectors * lanes < 1.2 * problem.OCG else [*spread, *narrow]


def panel_of(problem: ConvProblem, cut: Cut) -> Panel:
    """Lay out the panel for the most rows that a work-item can meet."""
    p = problem
    itemsize = accumulator_bytes(p)
    out_rows = cut.pixels // p.OW if cut.pixels % p.OW == 0 else min(p.OH, (cut.pixels - 2) // p.OW + 2)
    rows = (out_rows - 1) * p.SH + p.EKH
    cols = (p.OW - 1) * p.SW + p.EKW
    if p.layout == "NHWC":
        rs = cols * cut.ic_block
        cs, ps, elements = 1, cut.ic_block, rows * rs
    else:
        # An odd number of cache lines between channels, so that they do not all fall into the same set.
        line = 64 // itemsize
        rs, cs, ps = cols, (ceil_div(rows * cols, line) | 1) * line, 1
        elements = cut.ic_block * cs
    return Panel(cs, rs, ps, (elements + cut.lanes) * itemsize)


def together_of(problem: ConvProblem, cut: Cut) -> int:
    """Input channels in a tap list: a long innermost loop, and lists that are no work to write."""
    return min(cut.ic_block, ceil_div(144, problem.KH * problem.KW))


def local_sizes(problem: ConvProblem, cut: Cut, panel: Panel) -> tuple[int, int, int]:
    """Panel, sums and tables, in bytes."""
    p = problem
    kept = cut.blocks if cut.ic_block < p.ICG else 1
    sums = (kept * (cut.pixels + cut.px) + 1) * cut.oc_block * accumulator_bytes(p)
    tables = RUNS * (3 + 2 * together_of(p, cut) * p.KH * p.KW) + 2 * (cut.pixels + cut.px) + cut.pixels
    return panel.bytes, sums, 4 * tables


def plan_of(name: str, entry: str, problem: ConvProblem, device: DeviceInfo, cut: Cut, seconds: float = 0.0) -> Plan:
    """Return the plan of a cut for ``standard/direct_simd`` or ``grouped/channel_simd``."""
    p = problem
    grouped = name.startswith("grouped")
    packing = pack_filter(p, device, cut.oc_block)
    panel = panel_of(p, cut)
    sizes = ("N", "IC", "IH", "IW", "OC", "OH", "OW", *(("ICG", "OCG") if grouped else ()), "PT", "PL", "XC", "YC")
    launch = Launch(
        kernel=f"{name}.cl",
        entry=entry,
        macros=(
            *common_macros(p, device),
            *(("VEC", cut.lanes), ("NV", cut.nv), ("PX", cut.px), ("AVX512", int(cut.wide))),
            ahead(p, device, cut.ic_block * p.KH * p.KW * cut.oc_block * accumulator_bytes(p)),
        ),
        arguments=(
            *("x", "packed", "bias", "residual", "y"),
            *map(Local, local_sizes(p, cut, panel)),
            *size_arguments(p, *sizes),
            *((Int(cut.groups),) if grouped else ()),
            *(Int(v) for v in (cut.pixels, cut.blocks, cut.ic_block, together_of(p, cut), panel.cs, panel.rs, panel.ps)),
            *epilogue_arguments(p),
        ),
        global_size=(
            ceil_div(p.OH * p.OW, cut.pixels),
            ceil_div(ceil_div(p.OCG, cut.oc_block), cut.blocks),
            p.N * ceil_div(p.G, cut.groups),
        ),
        local_size=(1, 1, 1),
    )
    return Plan(
        algorithm=name,
        problem=p,
        launches=(launch,),
        packing=packing,
        tile=f"{cut.px} pixels x {cut.oc_block} channels, {cut.pixels} x {cut.blocks * cut.oc_block}, {cut.ic_block} in",
        seconds=seconds,
        error_factor=direct_error_factor(p),
    )


def reason_against(problem: ConvProblem, device: DeviceInfo) -> str | None:
    """Return why no cut is legal, or None."""
    p = problem
    least = Cut(False, lanes_of(p, device), *TILES[-1], pixels=1, blocks=1, ic_block=1)
    need = sum(local_sizes(p, least, panel_of(p, least)))
    if need > device.local_mem_bytes:
        return f"needs {need} bytes of local memory, the device has {device.local_mem_bytes}"
    return None


def plans_of(name: str, entry: str, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
    """Return plans of ``standard/direct_simd`` or ``grouped/channel_simd``: for each register tile its two best cuts."""
    found = [item for tile in tiles_of(problem, device) for item in cuts_of(problem, device, tile)[:2]]
    found.sort(key=lambda item: item[0])
    return tuple(plan_of(name, entry, problem, device, cut, seconds) for seconds, cut in found)


def boost(device: DeviceInfo) -> float:
    """Return the clock at work over the one that the driver reports."""
    return HEAVY if device.amx else BOOST


def cuts_of(problem: ConvProblem, device: DeviceInfo, tile: tuple[bool, int, int, int]) -> list[tuple[float, Cut]]:
    """Return predicted seconds and cut, the fastest first, of the legal cuts with a register tile."""
    p = problem
    spread, lanes, nv, px = tile
    oc_blocks = ceil_div(p.OCG, nv * lanes)
    clock = device.clock_mhz * 1e6 * BOOST
    scattered = scattered_cycles(p, device)
    found: dict[Cut, float] = {}
    for pixels in _pixel_counts(p):
        sweeps: dict[int, tuple[Panel, float]] = {}  # neither blocks nor groups change them
        for ic_block in {ceil_div(p.ICG, parts) for parts in (1, 2, 4, 8, 16, 32, 64)}:
            one = Cut(spread, lanes, nv, px, pixels, 1, ic_block)
            panel = panel_of(p, one)
            if panel.bytes <= device.local_mem_bytes:
                sweeps[ic_block] = panel, _sweep_cycles(p, device, one, panel)
        for blocks in {ceil_div(oc_blocks, parts) for parts in (1, 2, 4, 8, 16)}:
            for ic_block, (panel, sweep) in sweeps.items():
                for groups in {g for g in (1, 2, 4) if g <= p.G}:
                    cut = Cut(spread, lanes, nv, px, pixels, blocks, ic_block, groups)
                    if sum(local_sizes(p, cut, panel)) <= device.local_mem_bytes:
                        found[cut] = (_cycles(p, device, cut, panel, sweep) + scattered) / clock
    return sorted(((seconds, cut) for cut, seconds in found.items()), key=lambda item: item[0])


def _pixel_counts(problem: ConvProblem) -> list[int]:
    """Pixels of a work-item worth a look: all, some rows, a part of a row."""
    p = problem
    rows = {ceil_div(p.OH, parts) for parts in (1, 2, 4, 7, 8, 14, 16, 28, 32, 56, 112)}
    return [*(r * p.OW for r in sorted(rows)), *(ceil_div(p.OW, parts) for parts in (2, 4, 8) if p.OW // parts >= 12)]


def _sweep_cycles(problem: ConvProblem, device: DeviceInfo, cut: Cut, panel: Panel) -> float:
    """Clock cycles of a block of input channels and one of output channels. The constants were measured on a Zen 4 core."""
    p = problem
    itemsize = accumulator_bytes(p)
    taps = cut.ic_block * p.KH * p.KW
    vectors = cut.nv * cut.px
    # With many pixels, their addresses are loaded like their elements. A sum may be touched every fourth cycle.
    half = device.multiply_cycles(cut.lanes * itemsize)
    tap = max(half * vectors, half * cut.nv + (0.5 if cut.px < 8 else 1.0) * cut.px, 4.0) * 1.05
    if cut.wide and device.full_avx512:
        tap *= 1.2  # the tap list and the addresses no longer come in behind the arithmetic
    filters = taps * cut.oc_block * itemsize
    if panel.bytes + filters > device.l1_bytes:
        tap *= 1.03 if panel.bytes + filters < (0.7 if cut.wide else 0.5) * device.l2_bytes else 1.3
    if device.full_avx512 and filters > 1.25 * device.l1_bytes:
        tap += cut.oc_block * itemsize / 107  # measured; each tile reads them from the second cache
    if p.SW * panel.ps * itemsize % 2048 == 0:
        tap *= 1.0 + 0.1 * cut.px  # the pixels of a tile share two sets of the first cache
    tile = taps * tap + (WIDE_START if cut.wide else START) + half * vectors * (3 if cut.ic_block < p.ICG else 2)
    tiles = max(cut.pixels / cut.px, ceil_div(cut.pixels, cut.px) * (cut.px - 1) / cut.px)
    return tile * tiles + filters / 32


def _cycles(problem: ConvProblem, device: DeviceInfo, cut: Cut, panel: Panel, sweep: float) -> float:
    """Predict the clock cycles of one call, of whose work-items each pass over a block of either channels takes ``sweep``."""
    p = problem
    copy = panel.bytes / accumulator_bytes(p) * 0.4
    finish = cut.pixels * cut.oc_block * (0.3 if p.layout == "NHWC" else 1.0 if cut.wide else 0.5)
    group = ceil_div(p.ICG, cut.ic_block) * (copy + cut.blocks * sweep) + cut.blocks * finish
    item = cut.groups * group + 15.0 * cut.pixels + 2000
    items = (
        ceil_div(p.OH * p.OW, cut.pixels)
        * ceil_div(ceil_div(p.OCG, cut.oc_block), cut.blocks)
        * p.N
        * ceil_div(p.G, cut.groups)
    )
    return few_items(items, device, item, MOST_LATE)
