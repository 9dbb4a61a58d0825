"""What would run for a problem on a device, and why: for people to read and programs to use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clconv import caller
from clconv.device import DeviceInfo
from clconv.plan import Plan
from clconv.problem import ConvProblem
from clconv.select import Choice, Limits, batch_parts, select
from clconv.tuning import recall


@dataclass(frozen=True)
class Explanation:
    """The choice for a problem on a device; printing it tells the story.

    Parameters
    ----------
    problem : ConvProblem
    device : DeviceInfo
    choice : Choice
    beside : bool
        The device has one beside it that runs kernels in the thread that calls, see :mod:`clconv.caller`.
    """

    problem: ConvProblem
    device: DeviceInfo
    choice: Choice
    beside: bool = False

    @property
    def parts(self) -> int:
        """Runs that a call takes: more than one where the device cannot allocate the whole batch in one piece."""
        return len(batch_parts(self.problem, self.device))

    @property
    def plan(self) -> Plan:
        """The plan that would run."""
        return self.choice.plan

    @property
    def algorithm(self) -> str:
        """Name of the algorithm that would run."""
        return self.plan.algorithm

    @property
    def in_caller(self) -> bool:
        """Whether a call on NumPy arrays would run in the thread that calls, since that takes less time."""
        return self.beside and caller.is_faster(self.plan, self.device)

    @property
    def _left_out(self) -> str:
        """What the bound of the error leaves out."""
        parts = ["the activation"] if self.problem.activation.kind != "identity" else []
        if self.problem.dtype in ("float16", "bfloat16"):
            parts.append(f"the rounding into {self.problem.dtype}")
        return f", before {' and '.join(parts)}" if parts else ""

    @property
    def intensity(self) -> float:
        """FLOPs per byte of the least possible traffic."""
        return self.problem.flops / max(self.problem.bytes, 1)

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as plain values, for JSON."""
        plan, problem = self.plan, self.problem
        return {
            "problem": str(problem),
            "kind": problem.kind,
            "activation": str(problem.activation),
            "output_shape": problem.output_shape,
            "parameters": problem.parameters,
            "flops": problem.flops,
            "bytes": problem.bytes,
            "device": self.device.name,
            "algorithm": plan.algorithm,
            "tile": plan.tile,
            "tuned": self.choice.tuned,
            "in_caller": self.in_caller,
            "kernels": [f"kernels/{launch.kernel}" for launch in plan.launches],
            "parts": self.parts,
            "workspace_bytes": plan.workspace,
            "packed_bytes": plan.packed_bytes,
            "error_factor": plan.error_factor,
            "error_bound": f"{plan.bound}{self._left_out}",
            "predicted_roofline_share": self._share(plan.seconds),
            "measured_roofline_share": None if self.choice.measured is None else self._share(self.choice.measured),
            "other_candidates": self._others,
            "refused": [list(r) for r in self.choice.refused],
        }

    @property
    def _others(self) -> list[str]:
        names = (f"{p.algorithm} ({p.tile})" for p in self.choice.candidates if p is not self.plan)
        return list(dict.fromkeys(names))

    def _share(self, seconds: float) -> float:
        # Of one part, which is what the plan is for.
        return _roofline(self.plan.problem, self.device) / seconds if seconds else 0.0

    def __str__(self) -> str:
        problem, plan = self.problem, self.plan
        shares = f"predicted {100 * self._share(plan.seconds):.0f} %"
        if self.choice.measured is not None:
            shares += f", measured {100 * self._share(self.choice.measured):.0f} %"
        bound = "compute" if problem.flops / self.device.peak_flops > problem.bytes / self.device.bandwidth else "memory"
        lines = [
            f"{problem.kind} convolution {problem}",
            f"  output      {problem.output_shape}, {problem.parameters} parameters, {problem.flops / 1e6:.1f} MFLOP",
            f"  device      {self.device.name} ({self.device.platform})",
            f"  algorithm   {plan.algorithm}, {'from a tuned record' if self.choice.tuned else 'by rule'}",
            f"  tile        {plan.tile}",
            f"  kernels     {', '.join(dict.fromkeys(f'kernels/{launch.kernel}' for launch in plan.launches))}",
            f"  roofline    {self.intensity:.1f} FLOP/byte, {bound} bound; {shares} of it ({self.device.roofline})",
            f"  memory      {plan.workspace} bytes of scratch, {plan.packed_bytes} bytes of packed filter",
            f"  error       at most {plan.bound}{self._left_out}",
        ]
        if problem.activation.kind != "identity":
            lines.insert(1, f"  activation  {problem.activation}")
        if self.in_caller:
            lines.append("  thread      that of the caller, for NumPy arrays: to wake the driver's own would take longer")
        if self.parts > 1:
            lines.append(f"  batch       in {self.parts} parts of {plan.problem.N} images at most, for largest buffers")
        others = self._others
        lines += [f"  also        {name}" for name in others[:4]]
        if len(others) > 4:
            lines.append(f"  also        {len(others) - 4} more")
        lines += [f"  not         {names}: {reason}" for names, reason in _together(self.choice.refused)]
        return "\n".join(lines)


def explain(problem: ConvProblem, device: DeviceInfo, limits: Limits | None = None, *, beside: bool = False) -> Explanation:
    """Return the explanation of what would run.

    Parameters
    ----------
    problem : ConvProblem
    device : DeviceInfo
    limits : Limits, optional
    beside : bool
        As in :class:`Explanation`.

    Raises
    ------
    UnsupportedError
        If no algorithm is left under the limits.
    DeviceError
        If a single image, or the filter, is more than the device allocates in one piece.
    """
    _, most = batch_parts(problem, device)[0]
    return Explanation(problem, device, select(problem.with_batch(most), device, limits, recall), beside)


def _together(refused: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Put algorithms that are refused for the same reason in one line, those of a folder as ``folder/a, b, c``."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for name, reason in refused:
        folder, slash, file = name.rpartition("/")
        reasons.setdefault(reason, {}).setdefault(folder + slash, []).append(file)
    return [("; ".join(f + ", ".join(names) for f, names in folders.items()), reason) for reason, folders in reasons.items()]


def _roofline(problem: ConvProblem, device: DeviceInfo) -> float:
    return max(problem.flops / device.peak_flops, problem.bytes / device.bandwidth)
