"""Wheel, sdist, editable install and bare checkout all find the kernels."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).parents[1]
PROBE = (
    "import clconv, clconv.source as s, numpy as np; print(s.KERNEL_DIR);"
    "print(clconv.conv2d(np.ones((1,1,3,3),'f'), np.ones((1,1,3,3),'f')).item())"
)


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Run a command and return what it printed."""
    env = {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **environment}
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel and sdist, built from this checkout as it lies there, with the tools of this environment."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    return out


def test_wheel_and_sdist_carry_every_kernel(built: Path) -> None:
    kernels = {p.relative_to(ROOT / "kernels").as_posix() for p in (ROOT / "kernels").rglob("*.cl*")}
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        assert {f"clconv/kernels/{k}" for k in kernels} <= names
        records = {p.relative_to(ROOT).as_posix() for p in (ROOT / "clconv" / "tuning" / "records").glob("*.json")}
        assert records
        assert records <= names
        assert "clconv/py.typed" in names
        assert not [n for n in names if n.startswith(("tests/", "notebooks/"))]
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        inside = {n.partition("/")[2] for n in sdist.getnames()}
        assert {f"kernels/{k}" for k in kernels} <= inside


def environment(folder: Path) -> tuple[Path, Path]:
    """A virtual environment without clconv: its Python and its folder of packages.

    The dependencies come from this environment; only clconv itself is what is tested.
    """
    venv.create(folder, with_pip=False, system_site_packages=False)
    python = folder / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    # A path configuration file of this environment is not followed, so an editable install of clconv here is not found there.
    (site / "dependencies.pth").write_text(f"{Path(numpy.__file__).parents[1]}\n")
    return python, site


def pip_install(python: Path, *arguments: object, cwd: Path) -> None:
    """Install into another environment, without asking any index."""
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    run(*pip, "--ignore-installed", *arguments, cwd=cwd)


def test_an_installed_wheel_runs(built: Path, tmp_path: Path) -> None:
    python, site = environment(tmp_path / "env")
    pip_install(python, next(built.glob("*.whl")), cwd=tmp_path)
    where, result = run(python, "-c", PROBE, cwd=tmp_path).split()
    assert Path(where) == site / "clconv" / "kernels"
    assert float(result) == 9


def test_an_editable_install_runs_the_checkout_s_kernels(tmp_path: Path) -> None:
    python, _ = environment(tmp_path / "env")
    pip_install(python, "--no-build-isolation", "--editable", ROOT, cwd=tmp_path)
    where, result = run(python, "-c", PROBE, cwd=tmp_path).split()
    assert Path(where) == ROOT / "kernels"
    assert float(result) == 9


def test_a_bare_checkout_runs(tmp_path: Path) -> None:
    where, result = run(sys.executable, "-c", PROBE, cwd=tmp_path, PYTHONPATH=str(ROOT)).split()
    assert Path(where) == ROOT / "kernels"
    assert float(result) == 9
