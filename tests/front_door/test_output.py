"""The folder a command writes: whose files are in it, what becomes of an old run, and of a run that fails."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from prefgym import evaluation, output
from prefgym.commands.benchmark import SUITES
from prefgym.errors import InputError, MachineError
from prefgym.files import write_text
from prefgym.output import check_output, discard_parts, kept_folder, new_folder, resumed_folder
from prefgym.storage import aside
from prefgym.storage.manifest import FILES
from prefgym.storage.whole import whole_folder


class Killed(BaseException):
    """The process died here: nothing may run after it but what the next process does."""


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def write_run(folder: Path, text: str, *, overwrite: bool = False, fail: BaseException | None = None) -> Path:
    """A run with a checkpoint, a folder of events and a report."""
    with new_folder(folder, "train", overwrite=overwrite) as folder:
        write_text(folder / "config.yaml", text)
        if fail is not None:
            raise fail
        with whole_folder(folder / "checkpoints" / "iteration-000000", numbered=True) as writing:
            write_text(writing / "state.json", text)
        write_text(folder / "tensorboard" / "events", text)
        write_text(folder / "metrics.json", text)
    return folder


@pytest.fixture
def mine(tmp_path):
    """A folder with a run of prefgym's and, at every depth, files of the user's."""
    folder = write_run(tmp_path / "run", "old")
    for name in ("thesis.txt", ".git/HEAD", "checkpoints/notes", "checkpoints/iteration-000000/notes", "tensorboard/x"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"mine: {name}")
    return folder


def of_the_user(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in found.items() if content.startswith(b"mine")}


@pytest.mark.parametrize("name", ["config.yaml", "metrics.json", "prefgym.json", "notes", ".hidden", "runs/x"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_without_a_list_is_never_written(tmp_path, name, overwrite):
    (tmp_path / "p" / name).parent.mkdir(parents=True)
    (tmp_path / "p" / name).touch()
    for enter in (new_folder, kept_folder):
        with (
            pytest.raises(InputError),
            enter(tmp_path / "p", "train", **({"overwrite": overwrite} if enter is new_folder else {})),
        ):
            pytest.fail("entered")
    assert set(contents(tmp_path)) == {f"p/{name}"}


def test_a_run_of_version_0_1_is_to_be_moved_first(tmp_path):
    (tmp_path / "config.yaml").write_text("env: {}")
    (tmp_path / "prefgym.json").write_text("{}")
    with pytest.raises(InputError, match=rf"prefgym 0\.1.*mv {tmp_path} {tmp_path}\.old"):
        write_run(tmp_path, "new", overwrite=True)


def test_only_files_on_the_list_move_aside(mine, capsys):
    before = contents(mine)
    write_run(mine, "new", overwrite=True)
    aside = mine.with_name("run.previous-1")
    assert f"rm -r {aside}" in capsys.readouterr().out
    assert of_the_user(contents(mine)) == of_the_user(before)
    kept = {name: content for name, content in before.items() if not content.startswith(b"mine")}
    assert contents(aside) == kept
    new = {name for name, content in contents(mine).items() if content == b"new"}
    assert new == {"config.yaml", "metrics.json", "tensorboard/events", "checkpoints/iteration-000000-2/state.json"}
    write_run(mine, "newer", overwrite=True)
    assert contents(aside) == kept
    assert (mine.with_name("run.previous-2") / "metrics.json").read_text() == "new"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("env.model", "run"),
        ("env.model", "link"),
        ("env.reference", "run/checkpoints/iteration-000000"),
        ("model", "run/checkpoints"),
        ("data.prompts", "run/metrics.json"),
        ("env.reward", {"fit": {"function": "run", "weight": 1}}),
        ("env.reward", {"models": ["other", "link"], "combine": "worst"}),
        ("evaluation.judge", "run"),
        ("RUN", ["other", "run"]),
        *((option.key, "run") for option in SUITES),
    ],
)
def test_what_is_read_is_not_set_aside(mine, key, value, monkeypatch):
    monkeypatch.chdir(mine.parent)
    Path("link").symlink_to("run")
    with pytest.raises(InputError, match=f"{re.escape(key)} names (run|link).*, which --output run would set aside"):
        check_output(Path("run"), "train", overwrite=True, inputs={key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.prompts", "run/thesis.txt"),  # not prefgym's, it stays where it is
        ("data.prompts", "trl-lib/tldr"),
        ("env.model", None),
        ("env.model", "run.previous-1"),
        ("agent.name", "run"),
        ("env.reward", {"a": "embedded", "b": "my.py:run"}),
    ],
)
def test_what_stays_may_be_read(mine, key, value, monkeypatch):
    monkeypatch.chdir(mine.parent)
    check_output(Path("run"), "train", overwrite=True, inputs={key: value})


def test_a_short_name_is_no_folder_of_that_name(mine, monkeypatch):
    monkeypatch.chdir(mine.parent)
    mine.rename("gold")
    inputs = {"env.reward": "gold", "evaluation.judge": "preference"}
    check_output(Path("gold"), "train", overwrite=True, inputs=inputs)
    with pytest.raises(InputError, match=r"env\.model names gold"):
        check_output(Path("gold"), "train", overwrite=True, inputs={**inputs, "env.model": "gold"})


def test_a_name_that_is_taken_is_passed_over(mine):
    (mine.parent / "run.previous-1").write_text("mine")
    write_run(mine, "new", overwrite=True)
    assert (mine.parent / "run.previous-1").read_text() == "mine"
    assert (mine.parent / "run.previous-2" / "metrics.json").read_text() == "old"


@pytest.mark.parametrize("path", [".", "../run", "../link", "../run/", "./"])
def test_every_way_to_name_the_folder(mine, path, monkeypatch):
    (mine.parent / "link").symlink_to("run")
    monkeypatch.chdir(mine)
    write_run(Path(path), "new", overwrite=True)
    assert (mine / "metrics.json").read_text() == "new"
    assert (mine.parent / "run.previous-1" / "metrics.json").read_text() == "old"
    assert Path.cwd() == mine


def test_beside_a_parent_that_cannot_be_written_the_old_run_stays_inside(mine, monkeypatch):
    mkdir = Path.mkdir

    def refuse(self, *args, **kwargs):
        if self.parent == mine.parent:
            raise PermissionError(13, "Permission denied", str(self))
        mkdir(self, *args, **kwargs)

    monkeypatch.setattr(
        Path, "mkdir", lambda self, *a, **k: refuse(self, *a, **k) if "previous" in self.name else mkdir(self, *a, **k)
    )
    write_run(mine, "new", overwrite=True)
    assert (mine / "previous-1" / "metrics.json").read_text() == "old"
    assert (mine / "metrics.json").read_text() == "new"


@pytest.mark.parametrize(
    "error", [InputError("x"), OSError(28, "full"), MachineError("x"), KeyboardInterrupt(), ValueError()]
)
def test_a_run_that_fails_with_nothing_to_go_on_from_leaves_everything_as_it_was(mine, tmp_path, error):
    before = contents(tmp_path)
    with pytest.raises(type(error)):
        write_run(mine, "new", overwrite=True, fail=error)
    assert contents(tmp_path) == before
    with pytest.raises(type(error)):
        write_run(tmp_path / "deep" / "er", "new", fail=error)
    assert not (tmp_path / "deep").exists()


def operations() -> int:
    """How many moves of one file it takes to set the run of ``mine`` aside."""
    return 5


@pytest.mark.parametrize("number", range(operations()))
@pytest.mark.parametrize("back", [False, True])
def test_a_move_that_is_cut_off_is_undone_by_the_next_command(mine, tmp_path, monkeypatch, number, back):
    """Killed at every file of the way out, and at every file of the way back after a run that failed."""
    before, moved, move = contents(tmp_path), [], shutil.move

    def dies(source, target):
        if len(moved) == number + (operations() if back else 0):
            os._exit(9)
        moved.append(source)
        move(source, target)

    child = os.fork()
    if not child:
        monkeypatch.setattr(aside.shutil, "move", dies)
        try:
            write_run(mine, "new", overwrite=True, fail=InputError("x") if back else None)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    with pytest.raises(InputError, match="again"):
        write_run(mine, "newer", overwrite=True, fail=InputError("again"))
    assert contents(tmp_path) == before


def test_a_file_of_the_users_by_a_name_that_the_run_needs_is_refused_before(mine, tmp_path):
    (mine / "report.html").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"report\.html is not prefgym's"):
        write_run(mine, "new", overwrite=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["config.yaml", "metrics.json", "checkpoints/iteration-000000/state.json"])
def test_a_file_of_the_run_that_the_user_changed_is_theirs(mine, tmp_path, name):
    (mine / name).write_text("mine now")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="was changed since prefgym wrote it"):
        write_run(mine, "new", overwrite=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("named", ["thesis", "..", ".", "../..", "run.previous-1"])
def test_a_list_cannot_have_a_project_moved_into_the_run(tmp_path, named):
    """A run that failed brings back the run that it replaced, and nothing that only its list calls so."""
    for name in ("thesis/chapter", "run.previous-1/mine", "top", "run/config.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    head = {"format": 1, "run": "a", "command": "train", "replaces": named, "replaced": "b"}
    rows = [head, {"file": "config.yaml"}]
    (tmp_path / "run" / FILES).write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = of_the_user(contents(tmp_path))
    before.pop("run/config.yaml")  # on the list, as one of the run's that grew
    with pytest.raises(InputError, match="x"):
        write_run(tmp_path / "run", "new", fail=InputError("x"))
    assert of_the_user(contents(tmp_path)) == before


def test_a_link_in_a_run_that_leads_to_itself(mine):
    (mine / "loop").symlink_to(".")
    with (mine / FILES).open("a") as file:
        file.write('{"folder": "loop"}\n')
    write_run(mine, "new", overwrite=True)
    assert (mine / "loop").is_symlink()


def test_what_was_begun_only_is_begun_again(tmp_path):
    folder = tmp_path / "run"
    child = os.fork()
    if not child:
        with new_folder(folder, "train") as folder:
            write_text(folder / "config.yaml", "killed")
            os._exit(9)
    os.waitpid(child, 0)
    assert (folder / "config.yaml").is_file()
    with resumed_folder(folder, "train"):
        pass
    write_run(folder, "again")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}
    with pytest.raises(InputError, match=r"already holds a run;.*--resume --output"):
        write_run(folder, "more")


def test_resuming_needs_a_run_of_the_same_command(mine, tmp_path):
    for folder, told in ((tmp_path / "none", "holds no run"), (mine, "written by prefgym train, not by sft")):
        with pytest.raises(InputError, match=told), resumed_folder(folder, "sft"):
            pytest.fail("entered")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "config.yaml").touch()
    with pytest.raises(InputError, match="holds other files"), resumed_folder(tmp_path / "others", "train"):
        pytest.fail("entered")


def test_a_folder_in_a_run_moves_aside_with_it(mine):
    with new_folder(mine / "evaluation", "evaluate") as folder:
        write_text(folder / "metrics.json", "judged")
    write_run(mine, "new", overwrite=True)
    assert not (mine / "evaluation").exists()
    assert (mine.parent / "run.previous-1" / "evaluation" / "metrics.json").read_text() == "judged"


def test_an_unfinished_evaluation_is_gone_on_with_and_a_finished_one_is_not(tmp_path):
    with pytest.raises(AttributeError), new_folder(tmp_path / "e", "evaluate") as folder:
        write_text(write_text(folder / "parts" / "one.json", "1"), 1)
    with new_folder(tmp_path / "e", "evaluate") as folder:
        assert (folder / "parts" / "one.json").read_text() == "1"
        write_text(folder / "metrics.json", "done")
        write_text(folder / "report.html", "done")
        discard_parts(folder)
    with pytest.raises(InputError, match="already holds a run"), new_folder(tmp_path / "e", "evaluate"):
        pytest.fail("entered")


def test_a_volume_that_is_new_counts_as_empty(tmp_path):
    (tmp_path / "lost+found").mkdir()
    write_run(tmp_path, "new")
    assert (tmp_path / "metrics.json").read_text() == "new"
    assert (tmp_path / FILES).is_file()


def test_a_users_picture_is_refused_before_a_command_draws_one_of_that_name():
    """Of every picture that a report shows, the name is known before the work."""
    known = {name for names in output._PICTURES.values() for name in names}
    here = Path(output.__file__).parent
    rooms = (Path(evaluation.__file__).parent, here)
    files = [file for room in rooms for file in room.rglob("*.py")]
    shown = {name for file in files for name in re.findall(r'"(\w+\.png)"', file.read_text())}
    assert shown == {name for name in known if name.endswith(".png")}
