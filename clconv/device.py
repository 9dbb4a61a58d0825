"""What an algorithm may know of a device: limits and habits, in numbers. OpenCL is asked in ``DeviceInfo.of`` alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clconv import processor

if TYPE_CHECKING:
    import pyopencl as cl


@dataclass(frozen=True)
class DeviceInfo:
    """The facts about a device that plans are made from.

    Plans never see the device itself, so they can be made and tested for devices that are not there.

    Parameters
    ----------
    name, platform, driver : str
    is_cpu, is_simulator : bool
    compute_units : int
    clock_mhz : int
    max_work_group_size : int
        Work-items.
    local_mem_bytes : int
    max_alloc_bytes, global_mem_bytes : int
        Largest single buffer, and all memory.
    vector_bytes : int
        Width of the vector registers that the driver's compiler really uses.
    vector_registers : int
        How many of them there are.
    unaligned_vectors : bool
        Read vectors through pointers to unaligned vector types rather than with ``vloadn``; see include/vector.clh.
    l1_bytes, l2_bytes : int
        Data caches of one compute unit.
    avx512 : bool
        The processor has AVX-512 though the driver compiles for less; single functions may ask for it, see
        include/wide.clh.
    full_avx512 : bool
        A compute unit multiplies and adds two vectors of AVX-512 in each clock cycle, not one.
    moves_beside : bool
        And moves and adds others in the same cycle, as AMD's do since Zen 5.
    amx : bool
        The processor has a matrix unit for bfloat16 that single functions may ask for, see include/matrix.clh.
    unified_memory : bool
        The device works on the host's memory in place.
    fp64 : bool
        Double precision is there.
    """

    name: str
    platform: str
    driver: str = ""
    is_cpu: bool = True
    is_simulator: bool = False
    compute_units: int = 2
    clock_mhz: int = 2500
    max_work_group_size: int = 256
    local_mem_bytes: int = 32768
    max_alloc_bytes: int = 1 << 30
    global_mem_bytes: int = 4 << 30
    vector_bytes: int = 32
    vector_registers: int = 16
    unaligned_vectors: bool = False
    avx512: bool = False
    full_avx512: bool = False
    moves_beside: bool = False
    amx: bool = False
    l1_bytes: int = 32768
    l2_bytes: int = 1 << 20
    unified_memory: bool = True
    fp64: bool = True

    @property
    def is_pocl(self) -> bool:
        """Whether the driver is PoCL."""
        return "Portable Computing" in self.platform

    @property
    def moves_among(self) -> bool:
        """Whether one of the two units that multiply vectors of AVX-512 is also the one that moves them, as Intel's is."""
        return self.full_avx512 and not self.moves_beside

    def lanes(self, itemsize: int) -> int:
        """Elements of ``itemsize`` bytes in one vector register."""
        return max(1, self.vector_bytes // itemsize)

    def multiply_cycles(self, size: int) -> float:
        """Clock cycles of a multiply-add of a vector of ``size`` bytes: half of one where it fits the vector units."""
        return 0.5 * max(1.0, size / (64 if self.full_avx512 else self.vector_bytes))

    @property
    def peak_flops(self) -> float:
        """Estimate of the float32 multiply-add peak, FLOP/s: two vector units a compute unit, or 128 lanes on a GPU."""
        return self.driver_flops * (64 / self.vector_bytes if self.full_avx512 else 1)

    @property
    def driver_flops(self) -> float:
        """The same with vectors as the driver compiles them by itself; kernels that wait for loads are predicted by it."""
        lanes = 2 * self.lanes(4) if self.is_cpu else 128
        return 2.0 * lanes * self.compute_units * self.clock_mhz * 1e6

    @property
    def bandwidth(self) -> float:
        """Rough estimate of the memory bandwidth in bytes/s; the order of candidate plans depends little on it."""
        return 30e9 * self.compute_units if self.is_cpu else 10e9 * self.compute_units

    @property
    def roofline(self) -> str:
        """Both limits, for people: estimates, which ``clconv bench`` measures."""
        return f"{self.peak_flops / 1e9:.0f} GFLOP/s at the driver's {self.clock_mhz} MHz, {self.bandwidth / 1e9:.0f} GB/s"

    @classmethod
    def of(cls, device: cl.Device) -> DeviceInfo:
        """Read the facts from an OpenCL device."""
        import pyopencl as cl

        platform_name = device.platform.name
        simulator = "oclgrind" in f"{platform_name} {device.name}".lower()
        is_cpu = simulator or bool(device.type & cl.device_type.CPU)
        extensions = set(device.extensions.split())
        pocl = "Portable Computing" in platform_name
        avx512 = pocl and is_cpu and processor.is_x86() and device.native_vector_width_float >= 16
        return cls(
            name=device.name.strip(),
            platform=platform_name.strip(),
            driver=device.driver_version.strip(),
            is_cpu=is_cpu,
            is_simulator=simulator,
            compute_units=device.max_compute_units,
            clock_mhz=device.max_clock_frequency or 2500,  # Intel's runtime reports 0 on other makers' processors
            max_work_group_size=device.max_work_group_size,
            local_mem_bytes=device.local_mem_size,
            max_alloc_bytes=device.max_mem_alloc_size,
            global_mem_bytes=device.global_mem_size,
            vector_bytes=_vector_bytes(device, is_cpu, pocl, simulator),
            vector_registers=32 if is_cpu and not pocl and device.native_vector_width_float >= 16 else 16,
            unaligned_vectors=pocl and is_cpu,
            avx512=avx512,
            full_avx512=avx512 and processor.full_avx512(),
            moves_beside=avx512 and processor.moves_beside(),
            amx=pocl and is_cpu and processor.amx_granted(),
            l2_bytes=_l2_bytes(device, is_cpu, pocl),
            unified_memory=is_cpu and not simulator,
            fp64="cl_khr_fp64" in extensions,
        )


def _l2_bytes(device: Any, is_cpu: bool, pocl: bool) -> int:
    """Second cache of a compute unit that plans may count on, in bytes.

    PoCL gives local memory the size of a processor's second cache. More than 1 MiB is not counted on: what the
    predictions say of larger ones was fitted so, on processors whose second cache has 2 MiB.
    """
    return int(min(device.local_mem_size, DeviceInfo.l2_bytes)) if pocl and is_cpu else DeviceInfo.l2_bytes


def _vector_bytes(device: Any, is_cpu: bool, pocl: bool, simulator: bool) -> int:
    """Width to write kernels for, in bytes.

    PoCL reports what the processor could do, not what its LLVM target uses: 16 floats where it emits AVX2 code.
    """
    if simulator or not is_cpu:
        return 16
    width = max(4, min(16, device.native_vector_width_float)) * 4
    return int(min(width, 32) if pocl else width)
