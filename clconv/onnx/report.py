"""What a network does on a device, for people to read: passes, steps, times, memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clconv.onnx.memory import least_bytes
from clconv.onnx.program import Program
from clconv.onnx.step import Step
from clconv.onnx.store import Store


class Report:
    """What a call with certain input shapes runs; printing it tells the story.

    Parameters
    ----------
    program : Program
    store : Store
    """

    def __init__(self, program: Program, store: Store) -> None:
        self.passes: tuple[str, ...] = program.notes
        self.steps: tuple[Step, ...] = program.steps
        self.device = program.runtime.info
        self.shapes: tuple[tuple[int, ...], ...] = tuple(map(program.shape_of, program.steps))  # names may repeat
        self.activation_bytes = program.memory.bytes
        self.separate_bytes = sum(v.size for v in program.lifetimes)
        self.least_bytes = least_bytes(program.lifetimes)
        self.buffers = len(program.memory.sizes)
        self.weight_bytes = store.bytes
        self.kernels = sum(map(len, program.commands))
        self.commands = len(program.sequence)

    @property
    def flops(self) -> int:
        """Floating-point operations of a call."""
        return sum(step.flops for step in self.steps)

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as plain values, for JSON."""
        return {
            "device": self.device.name,
            "passes": list(self.passes),
            "steps": [
                {
                    "name": s.name,
                    "op": s.op,
                    "algorithm": s.algorithm,
                    "shape": shape,
                    "flops": s.flops,
                    "bytes": s.bytes,
                }
                for s, shape in zip(self.steps, self.shapes, strict=True)
            ],
            "flops": self.flops,
            "activation_bytes": self.activation_bytes,
            "separate_bytes": self.separate_bytes,
            "least_bytes": self.least_bytes,
            "weight_bytes": self.weight_bytes,
            "kernels": self.kernels,
            "commands": self.commands,
        }

    def __str__(self) -> str:
        lines = [f"{len(self.steps)} steps, {self.flops / 1e9:.3f} GFLOP, on {self.device.name}"]
        lines += [f"  {note}" for note in self.passes]
        lines += [_memory(self), f"  enqueue: {self.kernels} kernels in {self.commands} commands"]
        width, names = _widths(self.steps)
        lines += [
            f"  {s.op:{width}s}  {s.algorithm:{names}s} {shape!s:22s} {s.name}"
            for s, shape in zip(self.steps, self.shapes, strict=True)
        ]
        return "\n".join(lines)


def _widths(steps: tuple[Step, ...]) -> tuple[int, int]:
    """Return the widths of two columns: what is done, and by which algorithm."""
    return max([4, *(len(s.op) for s in steps)]), max([9, *(len(s.algorithm) for s in steps)])


def _memory(report: Report) -> str:
    mib = 1 << 20
    buffers = "one buffer" if report.buffers == 1 else f"{report.buffers} buffers"
    return (
        f"  plan memory: {report.activation_bytes / mib:.1f} MiB in {buffers} "
        f"({report.separate_bytes / mib:.1f} without reuse, {report.least_bytes / mib:.1f} at least); "
        f"weights {report.weight_bytes / mib:.1f} MiB, packed ones included"
    )


@dataclass(frozen=True)
class Profile:
    """Times of each step; printing it tells them, beside what each reads and writes at least (MiB).

    Parameters
    ----------
    report : Report
    seconds : list of float
        Of each step of the report.
    """

    report: Report
    seconds: list[float]

    @property
    def total(self) -> float:
        """All steps together, in seconds."""
        return sum(self.seconds)

    def share(self, index: int) -> float:
        """Return the share of a step's speed in what the device's estimated peak and bandwidth allow."""
        step, device = self.report.steps[index], self.report.device
        return max(step.flops / device.peak_flops, step.bytes / device.bandwidth) / max(self.seconds[index], 1e-9)

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as plain values, for JSON."""
        facts = self.report.as_dict()
        for index, (step, seconds) in enumerate(zip(facts["steps"], self.seconds, strict=True)):
            step.update(milliseconds=seconds * 1e3, roofline_share=self.share(index))
        return {**facts, "milliseconds": self.total * 1e3}

    def __str__(self) -> str:
        steps = self.report.steps
        width, names = _widths(steps)
        lines = [f"      ms     %  GFLOP/s roofline    MiB  {'what':{width}s}  {'algorithm':{names}s} shape"]
        for index, (step, seconds) in enumerate(zip(steps, self.seconds, strict=True)):
            rate = step.flops / max(seconds, 1e-9) / 1e9
            lines.append(
                f"{seconds * 1e3:8.3f} {100 * seconds / max(self.total, 1e-9):5.1f} {rate:8.1f} {self.share(index):8.0%} "
                f"{step.bytes / (1 << 20):6.2f}  {step.op:{width}s}  {step.algorithm:{names}s} {self.report.shapes[index]}"
            )
        lines.append(
            f"{self.total * 1e3:8.3f} ms in {len(steps)} steps, {self.report.flops / max(self.total, 1e-9) / 1e9:.1f} GFLOP/s"
        )
        lines.append(f"  the roofline is an estimate: {self.report.device.roofline}")
        lines.append(_memory(self.report))
        return "\n".join(lines)
