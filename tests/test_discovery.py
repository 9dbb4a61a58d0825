"""Which device is taken, and what is said when none can be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clconv import DeviceError, devices, discovery
from clconv.device import DeviceInfo
from clconv.discovery import choose_device
from clconv.drivers import require_linker
from tests.conftest import find_devices

ROOT = Path(__file__).parents[1]


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh process."""
    env = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


CONVOLVE = "import numpy as np, clconv; print(clconv.conv2d(np.ones((1,1,3,3),'f'), np.ones((1,1,3,3),'f')).item())"
pocl = [d for d in find_devices(simulator=False) if DeviceInfo.of(d).is_pocl]
needs_pocl = pytest.mark.skipif(not pocl, reason="PoCL is not installed on this platform")


def test_a_simulator_is_never_the_default() -> None:
    if not find_devices(simulator=False):
        pytest.skip("there is no real device")
    assert not DeviceInfo.of(choose_device("")).is_simulator


def test_gpus_come_before_cpus_and_pocl_before_other_drivers_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = {
        "simulator": DeviceInfo("simulator", "Oclgrind", is_simulator=True),
        "other": DeviceInfo("other", "Intel(R) OpenCL"),
        "pocl": DeviceInfo("pocl", "Portable Computing Language"),
        "gpu": DeviceInfo("gpu", "Vendor", is_cpu=False),
    }
    monkeypatch.setattr(DeviceInfo, "of", lambda name: made_up[name])
    for there, links, wish, want in (
        (["simulator", "other", "pocl", "gpu"], True, "", "gpu"),
        (["simulator", "other", "pocl", "gpu"], True, "cpu", "pocl"),
        (["simulator", "other", "pocl"], True, "", "pocl"),
        (["simulator", "other", "pocl"], False, "", "other"),
        (["simulator", "pocl"], False, "", "pocl"),
        (["other", "pocl"], True, "intel", "other"),
    ):
        monkeypatch.setattr(discovery, "devices", lambda there=there: there)
        monkeypatch.setattr(discovery, "linker", lambda links=links: "ld" if links else None)
        assert choose_device(wish) == want  # names stand for devices


def test_wishes() -> None:
    for device in devices():
        info = DeviceInfo.of(device)
        assert DeviceInfo.of(choose_device(info.name)).name == info.name
        assert DeviceInfo.of(choose_device(info.platform.upper())).platform == info.platform
    if any(DeviceInfo.of(d).is_cpu for d in find_devices(simulator=False)):
        assert DeviceInfo.of(choose_device("cpu")).is_cpu


def test_a_wish_that_nothing_fits() -> None:
    with pytest.raises(DeviceError, match=r"fits the name 'nonesuch' \(.* CLCONV_DEVICE\); use cpu, gpu or a part of one of: "):
        choose_device("nonesuch")


def test_the_environment_chooses() -> None:
    done = run_python(CONVOLVE, CLCONV_DEVICE="nonesuch")
    assert "DeviceError: no OpenCL device fits" in done.stderr
    for wish in {"cpu" if DeviceInfo.of(d).is_cpu else "gpu" for d in find_devices(simulator=False)}:
        assert run_python(CONVOLVE, CLCONV_DEVICE=wish, CLCONV_NO_TUNING="1").stdout.strip() == "9.0"
    assert run_python(CONVOLVE, PYOPENCL_CTX="0").stdout.strip() == "9.0"
    done = run_python(CONVOLVE, PYOPENCL_CTX="nonesuch")
    assert "DeviceError: PYOPENCL_CTX='nonesuch' chooses no OpenCL device" in done.stderr


@needs_pocl
def test_two_devices_in_one_context() -> None:
    """PoCL shows the processor twice when it is told to."""
    code = """
import numpy as np, pyopencl as cl, clconv
(platform,) = [p for p in cl.get_platforms() if "Portable" in p.name]
context = cl.Context(platform.get_devices())
queues = [cl.CommandQueue(context, device) for device in context.devices]
print(len(queues), *(clconv.conv2d(np.ones((1, 1, 3, 3), "f"), np.ones((1, 1, 3, 3), "f"), queue=q).item() for q in queues))
"""
    done = run_python(code, POCL_DEVICES="pthread basic")
    assert done.stdout.split() == ["2", "9.0", "9.0"], done.stderr


def test_no_device_at_all() -> None:
    code = "import pyopencl as cl; cl.get_platforms = lambda: []\n" + CONVOLVE
    done = run_python(code)
    assert 'install PoCL for the CPU with: pip install "pyopencl[pocl]"' in done.stderr.strip().splitlines()[-1]


@needs_pocl
def test_pocl_without_a_linker(tmp_path: Path) -> None:
    code = "import sys; sys.modules['ziglang'] = None\n" + CONVOLVE
    done = run_python(code, PATH="", POCL_CACHE_DIR=str(tmp_path), CLCONV_DEVICE="portable")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("clconv.errors.DeviceError: PoCL links its kernels with the program ld"), done.stderr
    assert "apt-get install binutils" in last


@needs_pocl
def test_a_linker_that_pip_brought(tmp_path: Path) -> None:
    """A stand-in for ziglang that calls the system's linker: what matters is that PoCL finds it without a PATH."""
    import shutil

    linker = shutil.which("ld")
    if linker is None:
        pytest.skip("there is no ld for the stand-in to call")
    package = tmp_path / "ziglang"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(
        f"import subprocess, sys\nassert sys.argv[1] == 'ld.lld'\nsys.exit(subprocess.call([{linker!r}, *sys.argv[2:]]))\n"
    )
    places = {
        "POCL_CACHE_DIR": str(tmp_path / "cache"),
        "CLCONV_CACHE": str(tmp_path / "programs"),
        "TMPDIR": str(tmp_path / "tmp"),
        "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}",
    }
    (tmp_path / "tmp").mkdir()
    patient = CONVOLVE + "; import atexit; atexit.register(clconv.binaries.save, 60)"  # PoCL 6.0 may take longer than a second
    done = run_python(patient, PATH="", CLCONV_DEVICE="portable", **places)
    assert done.stdout.strip() == "9.0", done.stderr
    assert list((tmp_path / "programs").rglob("*"))  # linked, and written, when Python ended
    assert not list((tmp_path / "tmp").glob("clconv-*"))


@needs_pocl
def test_a_second_process_starts_from_the_driver_s_cache(tmp_path: Path) -> None:
    def compiled() -> dict[str, int]:
        return {str(p.relative_to(tmp_path)): p.stat().st_mtime_ns for p in tmp_path.rglob("*.so")}

    for run in range(2):
        before = compiled()
        done = run_python(CONVOLVE, CLCONV_DEVICE="portable", POCL_CACHE_DIR=str(tmp_path))
        assert done.stdout.strip() == "9.0", done.stderr
        assert compiled()
        assert run == 0 or compiled() == before


def test_other_drivers_need_no_linker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    require_linker(DeviceInfo("gpu", "Some Vendor", is_cpu=False))


def test_importing_is_quick_and_needs_no_extra() -> None:
    heavy = "{'click', 'rich', 'matplotlib', 'onnx', 'PIL', 'torch', 'ml_dtypes', 'hypothesis'}"
    done = run_python(f"import sys, clconv; print(sorted({heavy} & set(sys.modules)))")
    assert done.stdout.strip() == "[]"


def test_openssl_is_not_loaded_for_digests() -> None:
    """It takes 3.4 MiB, which NumPy and pyopencl do without."""
    loaded = "'_hashlib' in sys.modules"
    code = f"import sys, numpy, pyopencl; before = {loaded}; import clconv; print(before, {loaded})"
    before, after = run_python(code).stdout.split()
    assert before == after


@needs_pocl
@pytest.mark.skipif(
    len(getattr(os, "sched_getaffinity", lambda _: ())(0)) < 2, reason="there are no two processors, or nothing binds threads"
)
@pytest.mark.parametrize("wish", [{"CLCONV_DEVICE": "portable"}, {"CLCONV_DEVICE": "", "PYOPENCL_CTX": "portable:0"}])
@pytest.mark.parametrize("decided", [None, "0", "1"])
def test_threads_of_pocl_are_bound_to_processors_and_those_of_child_processes_are_not(
    wish: dict[str, str], decided: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POCL_AFFINITY", raising=False)
    code = f"""
import os
{CONVOLVE}
bound = [len(os.sched_getaffinity(int(t))) == 1 for t in os.listdir("/proc/self/task")]
print(any(bound), os.environ.get("POCL_AFFINITY"))
"""
    done = run_python(code, **wish, **({} if decided is None else {"POCL_AFFINITY": decided}))
    usual = len(os.sched_getaffinity(0)) == os.cpu_count()
    assert done.stdout.split()[1:] == [str(usual if decided is None else decided == "1"), str(decided)], done.stderr
