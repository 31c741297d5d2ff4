"""Settings: which source wins, and what is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.settings import (
    PROJECT_FILE,
    PROJECT_HOME,
    Settings,
    current_env,
    default_registry,
    find_project,
    resolve,
    setting_names,
)
from mlserve.errors import InvalidConfig

SOURCES = ("default", PROJECT_FILE, "environment", "flag")


def origin_of(resolved, name: str) -> str:
    return next(item.origin for item in resolved.origins if item.name == name)


@given(present=st.sets(st.sampled_from(SOURCES[1:])))
def test_the_strongest_source_that_speaks_wins(tmp_path_factory, present: set[str]):
    folder = tmp_path_factory.mktemp("project")
    ports = dict(zip(SOURCES, (8000, 8001, 8002, 8003), strict=True))
    (folder / PROJECT_FILE).write_text("[serve]\nport = 8001\n" if PROJECT_FILE in present else "")
    env = {"MLSERVE_SERVE__PORT": "8002"} if "environment" in present else {}
    flags = {"serve.port": 8003 if "flag" in present else None}

    resolved = resolve(flags, env, folder)

    winner = max(present, key=SOURCES.index, default="default")
    assert resolved.settings.serve.port == ports[winner]
    assert origin_of(resolved, "serve.port") == winner


def test_without_a_project_everything_is_default(tmp_path: Path):
    resolved = resolve({}, {}, tmp_path)

    assert resolved.settings == Settings()
    assert resolved.project is None
    assert {item.origin for item in resolved.origins} == {"default"}


def test_every_setting_is_listed_once_with_its_origin(tmp_path: Path):
    assert [item.name for item in resolve({}, {}, tmp_path).origins] == list(setting_names())


def test_a_project_is_found_from_any_folder_below(tmp_path: Path):
    (tmp_path / PROJECT_HOME).mkdir()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)

    assert find_project(below) == tmp_path


def test_a_project_is_found_from_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / PROJECT_FILE).touch()
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")

    assert find_project(Path(".")) == tmp_path


def test_a_project_has_its_own_registry_and_artefacts(tmp_path: Path):
    (tmp_path / PROJECT_HOME).mkdir()

    settings = resolve({}, {}, tmp_path).settings

    assert settings.registry == default_registry(tmp_path)
    assert settings.artifacts == str(tmp_path / PROJECT_HOME / "artifacts")


def test_relative_paths_in_the_file_are_taken_from_its_folder(tmp_path: Path):
    (tmp_path / PROJECT_FILE).write_text('registry = "sqlite:///db/r.db"\nartifacts = "blobs"\n')
    below = tmp_path / "below"
    below.mkdir()

    settings = resolve({}, {}, below).settings

    assert settings.registry == f"sqlite:///{tmp_path}/db/r.db"
    assert settings.artifacts == str(tmp_path / "blobs")


def test_urls_in_the_file_are_left_alone(tmp_path: Path):
    (tmp_path / PROJECT_FILE).write_text('registry = "sqlite:////abs/r.db"\nartifacts = "s3://bucket/x"\n')

    settings = resolve({}, {}, tmp_path).settings

    assert (settings.registry, settings.artifacts) == ("sqlite:////abs/r.db", "s3://bucket/x")


def test_a_named_file_is_read_wherever_it_is(tmp_path: Path):
    file = tmp_path / "other.toml"
    file.write_text("[serve]\nport = 9000\n")

    resolved = resolve({}, {}, tmp_path / "elsewhere", config_file=file)

    assert resolved.settings.serve.port == 9000
    assert resolved.project == tmp_path


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path):
    with pytest.raises(InvalidConfig, match="cannot read"):
        resolve({}, {}, tmp_path, config_file=tmp_path / "absent.toml")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"port = ", id="not TOML"),
        pytest.param(b"\xff\xfe", id="not UTF-8"),
        pytest.param(b"[serve]\nport = 'x'\n", id="not a number"),
        pytest.param(b"[serve]\nport = 70000\n", id="no port"),
        pytest.param(b"[serve]\nworkers = 0\n", id="no workers"),
        pytest.param(b"[serve]\nbatching = {a = 1}\n", id="unknown"),
        pytest.param(b"serve = 3\n", id="a section as a value"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / PROJECT_FILE).write_bytes(content)

    with pytest.raises(InvalidConfig):
        resolve({}, {}, tmp_path)


def test_a_misspelt_variable_names_the_nearest(tmp_path: Path):
    with pytest.raises(InvalidConfig, match=r"no setting 'serve.prot' \(from MLSERVE_SERVE__PROT\)") as caught:
        resolve({}, {"MLSERVE_SERVE__PROT": "1"}, tmp_path)

    assert caught.value.hint == "did you mean 'serve.port'?"


def test_a_variable_that_only_shares_the_prefix_is_none_of_ours(tmp_path: Path):
    assert resolve({}, {"MLSERVE_TEST_ALL": "1", "OTHER": "x"}, tmp_path).settings == Settings()


def test_words_and_numbers_from_the_environment_become_values(tmp_path: Path):
    env = {"MLSERVE_SERVE__GRPC_PORT": "9001", "MLSERVE_SERVE__DRAIN_S": "1.5", "MLSERVE_REGISTRY": "sqlite:///x"}

    settings = resolve({}, env, tmp_path).settings

    assert (settings.serve.grpc_port, settings.serve.drain_s, settings.registry) == (9001, 1.5, "sqlite:///x")


def test_the_user_is_known_by_the_system_unless_set(tmp_path: Path):
    assert resolve({}, {"USER": "ada"}, tmp_path).settings.user == "ada"
    assert resolve({}, {"USER": "ada", "MLSERVE_USER": "bob"}, tmp_path).settings.user == "bob"


def test_an_unknown_flag_is_our_own_misspelling_and_still_named(tmp_path: Path):
    with pytest.raises(InvalidConfig, match="from a flag"):
        resolve({"serve.nothing": 1}, {}, tmp_path)


def test_the_environment_is_copied(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLSERVE_SERVE__PORT", "1")
    copy = current_env()
    monkeypatch.delenv("MLSERVE_SERVE__PORT")

    assert copy["MLSERVE_SERVE__PORT"] == "1"


@pytest.mark.parametrize(
    ("content", "env", "message"),
    [
        pytest.param("", {"MLSERVE_SERVE__PORT": "abc"}, "serve.port is 'abc' (from MLSERVE_SERVE__PORT)", id="word"),
        pytest.param("[serve]\nport = 70000\n", {}, "serve.port is 70000 (in '{file}')", id="too large"),
        pytest.param("[serve]\ndevice = 'gpu'\n", {}, "serve.device is 'gpu' (in '{file}')", id="no such choice"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_where_it_stands(
    tmp_path: Path, content: str, env: dict[str, str], message: str
):
    file = tmp_path / PROJECT_FILE
    file.write_text(content)

    with pytest.raises(InvalidConfig) as caught:
        resolve({}, env, tmp_path)

    assert caught.value.message.startswith(message.format(file=file))
    assert "`" not in caught.value.message


def test_a_section_given_as_a_value_is_told_what_it_holds(tmp_path: Path):
    (tmp_path / PROJECT_FILE).write_text("serve = 3\n")

    with pytest.raises(InvalidConfig) as caught:
        resolve({}, {}, tmp_path)

    assert caught.value.hint == "'serve' is a section: [serve]"


@pytest.mark.parametrize("name", ["MLSERVE_REGISTRY", "MLSERVE_SERVE__PORT"])
def test_an_empty_variable_is_as_none(tmp_path: Path, name: str):
    assert resolve({}, {name: ""}, tmp_path).settings == Settings()


def test_several_values_come_from_the_environment_with_commas_and_from_the_file_as_a_list(tmp_path: Path):
    (tmp_path / PROJECT_FILE).write_text("[serve]\npreferred_batches = [16]\n")

    assert resolve({}, {}, tmp_path).settings.serve.preferred_batches == (16,)
    env = {"MLSERVE_SERVE__PREFERRED_BATCHES": "4,8"}
    assert resolve({}, env, tmp_path).settings.serve.preferred_batches == (4, 8)
    with pytest.raises(InvalidConfig, match="preferred_batches"):
        resolve({}, {"MLSERVE_SERVE__PREFERRED_BATCHES": "4,x"}, tmp_path)
