from pathlib import Path

import pytest

from gesso.devices.host_memory import HostMemory, host_memory, vm_stat_free_bytes

MEMINFO = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    9000000 kB\nCached: 8000000 kB\n"
MACHINE = HostMemory(total_bytes=16_000_000 * 1024, free_bytes=9_000_000 * 1024)
GB = 10**9


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    return tmp_path


def group(folder: Path, limit: str, used: int, cache: int, *, version: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = {2: ("memory.max", "memory.current"), 1: ("memory.limit_in_bytes", "memory.usage_in_bytes")}[version]
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    key = {2: "inactive_file", 1: "total_inactive_file"}[version]
    (folder / "memory.stat").write_text(f"anon 5\n{key} {cache}\nother 7\n")


def test_without_limits_it_is_what_the_kernel_says_is_available(root: Path) -> None:
    assert host_memory(root) == MACHINE


def test_a_container_gets_its_limit_less_what_it_holds_and_cannot_give_back(root: Path) -> None:
    (root / "proc/self/cgroup").write_text("0::/\n")
    group(root / "sys/fs/cgroup", str(4 * GB), used=3 * GB, cache=2 * GB, version=2)
    assert host_memory(root) == HostMemory(total_bytes=4 * GB, free_bytes=3 * GB)


def test_the_tightest_of_nested_groups_counts(root: Path) -> None:
    (root / "proc/self/cgroup").write_text("0::/user/job\n")
    mount = root / "sys/fs/cgroup"
    group(mount / "user/job", "max", used=GB, cache=0, version=2)
    group(mount / "user", str(6 * GB), used=5 * GB, cache=0, version=2)
    group(mount, str(8 * GB), used=6 * GB, cache=0, version=2)
    assert host_memory(root) == HostMemory(total_bytes=6 * GB, free_bytes=GB)


def test_groups_of_version_1_count_as_well(root: Path) -> None:
    (root / "proc/self/cgroup").write_text("5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/\n")
    group(root / "sys/fs/cgroup/memory", str(2 * GB), used=GB, cache=0, version=1)  # the path is one of the host
    assert host_memory(root) == HostMemory(total_bytes=2 * GB, free_bytes=GB)


def test_an_enormous_limit_is_none(root: Path) -> None:
    (root / "proc/self/cgroup").write_text("4:memory:/\n")
    group(root / "sys/fs/cgroup/memory", str(2**63 - 4096), used=GB, cache=0, version=1)
    assert host_memory(root) == MACHINE


def test_a_group_over_its_limit_has_nothing_free(root: Path) -> None:
    (root / "proc/self/cgroup").write_text("0::/\n")
    group(root / "sys/fs/cgroup", str(GB), used=2 * GB, cache=0, version=2)
    assert host_memory(root).free_bytes == 0


def test_an_old_kernel_that_does_not_say_what_is_available_gets_an_estimate(root: Path) -> None:
    (root / "proc/meminfo").write_text(MEMINFO.replace("MemAvailable", "Other"))
    assert host_memory(root).free_bytes == 9_000_000 * 1024


def test_this_machine_says_how_much_memory_it_has() -> None:
    memory = host_memory()
    assert 0 < memory.free_bytes <= memory.total_bytes


def test_what_macos_prints_is_understood() -> None:
    text = (
        "Mach Virtual Memory Statistics: (page size of 16384 bytes)\n"
        "Pages free:                               100.\n"
        "Pages active:                             500.\n"
        "Pages inactive:                            30.\n"
        "Pages speculative:                          7.\n"
        '"Translation faults":                 3000000.\n'
    )
    assert vm_stat_free_bytes(text) == 137 * 16384
