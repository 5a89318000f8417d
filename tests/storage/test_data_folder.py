from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autonomics.errors import DataFolderBusy, InvalidConfig
from autonomics.storage.data_folder import open_data_folder

OPEN_IN_CHILD = """
import sys
from pathlib import Path
from autonomics.errors import DataFolderBusy
from autonomics.storage.data_folder import open_data_folder
try:
    open_data_folder(Path(sys.argv[1]))
except DataFolderBusy as error:
    print(error)
    sys.exit(7)
"""


def open_in_child(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", OPEN_IN_CHILD, str(path)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_a_new_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with open_data_folder(tmp_path / "a" / "data") as folder:
        assert folder.path.stat().st_mode & 0o777 == 0o700
        assert folder.store_path.parent == folder.signing_key_path.parent == folder.path


def test_a_second_process_is_refused_by_name_and_changes_nothing(tmp_path: Path) -> None:
    with open_data_folder(tmp_path) as folder:
        before = {file.name: file.read_bytes() for file in folder.path.iterdir()}
        child = open_in_child(tmp_path)
        assert child.returncode == 7
        assert child.stdout == f"{tmp_path} is held by process {os.getpid()}\n"
        assert {file.name: file.read_bytes() for file in folder.path.iterdir()} == before


def test_the_same_process_is_refused_a_second_time(tmp_path: Path) -> None:
    with open_data_folder(tmp_path), pytest.raises(DataFolderBusy):
        open_data_folder(tmp_path)


def test_a_closed_folder_is_free_for_the_next(tmp_path: Path) -> None:
    open_data_folder(tmp_path).close()
    assert open_in_child(tmp_path).returncode == 0
    open_data_folder(tmp_path).close()


def test_a_path_that_is_a_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidConfig, match="expected data folder to be a folder") as caught:
            open_data_folder(path)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_not_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InvalidConfig, match="Permission denied"):
        open_data_folder(tmp_path)
