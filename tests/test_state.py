"""What an installation keeps in its folder."""

from __future__ import annotations

import multiprocessing
import socket
import stat
from pathlib import Path

import pytest

from rootmail import broker, state


def test_a_key_is_made_once_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    made = state.stored(path, state.new_key)
    assert len(made) >= 64
    assert state.stored(path, lambda: "another") == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["key"]


def _read(path: str) -> str:
    return state.stored(Path(path), state.new_key)


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        assert len(set(pool.map(_read, [str(tmp_path / "key")] * 32))) == 1


def test_replacing_changes_the_whole_content(tmp_path: Path) -> None:
    path = tmp_path / "key"
    state.replace(path, "one")
    state.replace(path, "two")
    assert path.read_text() == "two\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_broker_whose_port_was_taken_gets_another_one(tmp_path: Path) -> None:
    free, file = state.new_broker_url(), tmp_path / "broker_url"
    assert broker.usable_url(free, file=file) == free
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"redis://:pw@127.0.0.1:{other.getsockname()[1]}/0"
        fresh = broker.usable_url(taken, file=file)
    assert fresh != taken
    assert file.read_text().strip() == fresh


def test_the_password_of_the_broker_is_in_its_file_not_in_its_command(tmp_path: Path) -> None:
    url = "redis://:hidden-4711@127.0.0.1:6390/0"
    command = broker.command(url, folder=tmp_path)
    assert "hidden-4711" not in " ".join(command)
    assert "requirepass hidden-4711" in (tmp_path / "valkey.conf").read_text()
    assert stat.S_IMODE((tmp_path / "valkey.conf").stat().st_mode) == 0o600


def test_without_a_server_program_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> Path:
        raise broker.ValkeyBinaryNotFoundError

    monkeypatch.setattr(broker, "get_binary_path", nothing)
    monkeypatch.setattr(broker.shutil, "which", lambda name: f"/bin/{name}" if name == "redis-server" else None)
    assert broker.server_program() == "/bin/redis-server"
    monkeypatch.setattr(broker.shutil, "which", lambda name: None)
    with pytest.raises(broker.NoBroker, match="Install Valkey or Redis, or set BROKER_URL"):
        broker.server_program()


def test_a_broker_that_is_not_there_does_not_answer() -> None:
    assert broker.answers(f"redis://127.0.0.1:{state.free_port()}/0") is False
