"""The tests that `make check` leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

# Tests that start programs, wait in real time, or try very many states; prefixes of their IDs below tests/.
SLOW = (
    "api/test_reference.py::test_each_command_works_as_it_is_shown",
    "browser/",
    "client/",
    "docs/test_aws.py",
    "docs/test_own_s3.py",
    "docs/test_packages.py::test_what_is_built_serves_from_a_read_only_copy_and_passes_its_health_check",
    "docs/test_proxies.py",
    "docs/test_readme.py",
    "docs/test_service.py",
    "docs/test_sessions.py",
    "docs/test_shell.py",
    "emulated/",
    "faults/",
    "http/test_handler.py",
    "load/",
    "properties/",
    "sharing/test_sharing_changes.py::test_a_page_before_many_invisible_files_takes_few_batches",
    "sharing/test_sweep_commands.py",
    "sharing/test_sweeping.py::test_a_sweep_disturbed_before_any_of_its_changes_ends_in_the_same_state",
    "sharing/test_sweeping_effort.py",
    "storage/counting/test_cells.py::test_in_any_order_and_whoever_dies_the_total_is_exact",
    "storage/directory/test_store.py::test_two_processes_lose_no_count",
    "storage/test_large_file.py",
    "test_benchmarks.py",
    "test_cold_starts.py",
    "test_generated_client.py",
    "test_imports.py",
    "test_lambda.py::test_a_sample_event_can_be_invoked_as_it_is_deployed",
    "test_predeploy.py",
    "test_template.py::test_the_translation_is_sound",
    "wire/",
)
# Fixtures that start a separate server process, and parameters that request one.
SLOW_FIXTURES = {"deployment", "moto", "s3_server", "seaweed"}
SLOW_PARAMETERS = {"s3", "functions", "emulated", "remapped", "moto", "seaweedfs", "in_bucket"}

for _prefix in SLOW:
    assert (Path(__file__).parent / _prefix.partition("::")[0]).exists(), f"SLOW names {_prefix}, which is not there"


def is_slow(item: pytest.Item) -> bool:
    if item.nodeid.removeprefix("tests/").startswith(SLOW):
        return True
    if not isinstance(item, pytest.Function):
        return False
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    parameters = {value for value in values if isinstance(value, str)}
    return not SLOW_FIXTURES.isdisjoint(item.fixturenames) or not SLOW_PARAMETERS.isdisjoint(parameters)
