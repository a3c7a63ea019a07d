"""Settings: which layer holds, who says so, and how files are changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Dv, Put


def origins(dv: Dv, *flags: object) -> dict[str, tuple[object, str]]:
    rows = dv("config", "list", "--json", *flags).document
    return {row["key"]: (row["value"], row["origin"]) for row in rows}


def test_flags_go_before_the_environment_it_before_the_project_it_before_the_user(
    dv: Dv, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, project = home / "config.toml", home / "here" / "dv.toml"
    assert origins(dv)["progress"] == ("auto", "default")
    user.write_text('progress = "plain"\n')
    assert origins(dv)["progress"] == ("plain", str(user))
    project.write_text('progress = "none"\n')
    assert origins(dv)["progress"] == ("none", str(project))
    monkeypatch.setenv("DV_PROGRESS", "json")
    assert origins(dv)["progress"] == ("json", "DV_PROGRESS")
    assert origins(dv, "--progress", "bar")["progress"] == ("bar", "--progress")


def test_the_nearest_project_file_up_the_tree_holds(
    dv: Dv, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "dv.toml").write_text('device = "cpu"\n')
    assert dv("config", "get", "device").out == "cpu\n"
    (home / "here" / "dv.toml").write_text('base = "mini"\n')
    assert dv("config", "get", "device").out == "auto\n"
    (home / "here" / "deeper").mkdir()
    monkeypatch.chdir(home / "here" / "deeper")
    assert origins(dv)["base"] == ("mini", str(home / "here" / "dv.toml"))


def test_a_command_takes_what_a_file_says(
    dv: Dv, put: Put, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("corgi")
    monkeypatch.delenv("DV_REGISTRY")
    (home / "dv.toml").write_text('registry = "registry"\n')
    assert dv("subject", "list", "-q").out == "corgi\n"
    assert dv("subject", "list", "-q", "--registry", "elsewhere").out == ""
    monkeypatch.setenv("DV_REGISTRY", str(home / "none"))
    assert dv("subject", "list", "-q").out == ""


def test_a_folder_in_a_file_is_meant_from_the_file(
    dv: Dv, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DV_STATE")
    (home / "dv.toml").write_text('state = "runs"\n')
    assert dv("config", "get", "state").out == f"{home / 'runs'}\n"


@pytest.mark.parametrize("where", ["/tmp", "../elsewhere", "a/../../b", "~"])
def test_a_project_file_may_not_send_data_out_of_the_project(
    dv: Dv, home: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.delenv("DV_REGISTRY")
    (home / "here" / "dv.toml").write_text(f'registry = "{where}"\n')
    result = dv("subject", "list", "--json")
    assert (result.code, result.out, result.error["code"]) == (2, "", "config.outside")


def test_a_link_out_of_the_project_is_out_of_it(
    dv: Dv, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DV_REGISTRY")
    (home / "here" / "inside").symlink_to(home)
    (home / "here" / "dv.toml").write_text('registry = "inside/registry"\n')
    assert dv("subject", "list", "--json").error["code"] == "config.outside"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('regsitry = "x"', "registry"),
        ("base = 3", "not a text"),
        ("no-input = 'yes'", "true or false"),
        ('progress = "loud"', "plain"),
        ('device = "gpu"', "cuda"),
        ("base = ", "config.toml"),
        ("[table]\nbase = 'mini'", "table"),
    ],
)
def test_a_bad_file_is_a_usage_error_that_names_it(
    dv: Dv, home: Path, text: str, told: str
) -> None:
    (home / "config.toml").write_text(text + "\n")
    result = dv("config", "list", "--json")
    assert (result.code, result.error["code"]) == (2, "config.invalid")
    assert "config.toml" in result.error["message"]
    assert told in f"{result.error['message']} {result.error['hint']}"


def test_a_bad_file_stops_neither_help_nor_its_own_repair(dv: Dv, home: Path) -> None:
    (home / "config.toml").write_text('devise = "cpu"\n')
    assert dv("gen", "x", "--dry-run").code == 2
    assert dv("gen", "--help").code == 0
    assert dv("config", "path").out == f"{home / 'config.toml'}\n"
    assert dv("config", "unset", "devise").code == 0
    assert (home / "config.toml").read_text() == ""


def test_setting_changes_one_line_and_keeps_the_rest(dv: Dv, home: Path) -> None:
    file = home / "config.toml"
    file.write_text('# mine\nbase = "mini"  # small\nprogress = "plain"')
    assert dv("config", "set", "progress", "json").out == "json\n"
    assert dv("config", "set", "no-input", "yes").out == "true\n"
    assert file.read_text() == (
        '# mine\nbase = "mini"  # small\nprogress = "json"\nno-input = true\n'
    )
    assert dv("config", "unset", "base").err.endswith("base is mini now, from default\n")
    assert file.read_text() == '# mine\nprogress = "json"\nno-input = true\n'
    assert dv("config", "unset", "base").code == 0
    assert list(home.glob(".config*")) == []


def test_a_line_that_cannot_be_changed_alone_is_left_alone(dv: Dv, home: Path) -> None:
    file = home / "config.toml"
    file.write_text('base = """\nmini"""\n')
    result = dv("config", "set", "base", "mini")
    assert (result.code, file.read_text()) == (2, 'base = """\nmini"""\n')


def test_a_setting_that_is_overruled_says_so(
    dv: Dv, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DV_DEVICE", "mps")
    result = dv("config", "set", "device", "cpu")
    assert (result.code, result.out) == (0, "cpu\n")
    assert "but DV_DEVICE goes before it: mps" in result.err


def test_a_projects_folder_is_written_as_seen_from_its_file(dv: Dv, home: Path) -> None:
    (home / "dv.toml").touch()
    assert dv("config", "set", "--project", "registry", "./adapters").code == 0
    assert (home / "dv.toml").read_text() == 'registry = "./here/adapters"\n'
    outside = dv("config", "set", "--project", "registry", "/tmp", "--json")
    assert (outside.code, outside.error["code"]) == (2, "config.outside")


def test_an_unknown_key_names_the_nearest(dv: Dv) -> None:
    for verb in (["get", "bse"], ["set", "bse", "mini"], ["unset", "bse"]):
        result = dv("config", *verb, "--json")
        assert (result.code, result.error["hint"]) == (2, "did you mean base?")
    assert dv("config", "get", "no_input").err.endswith("did you mean no-input?\n")


def test_a_value_that_cannot_be_is_not_written(dv: Dv, home: Path) -> None:
    for pair in (("device", "gpu"), ("progress", "loud"), ("no-input", "maybe"), ("base", "")):
        assert dv("config", "set", *pair).code == 2
    assert (home / "config.toml").read_text() == ""


def test_a_base_that_is_not_here_is_refused_as_base_use_refuses_it(dv: Dv, home: Path) -> None:
    errors = [
        dv(*verb, "nope", "--json").error for verb in (("config", "set", "base"), ("base", "use"))
    ]
    assert errors[0] == errors[1]
    assert (home / "config.toml").read_text() == ""


def test_a_file_that_says_nothing_any_more_goes(dv: Dv) -> None:
    assert dv("config", "set", "--project", "device", "cpu").code == 0
    assert Path("dv.toml").exists()
    assert dv("config", "unset", "--project", "device").code == 0
    assert not Path("dv.toml").exists()


def test_a_config_that_is_named_and_not_there_is_told(
    dv: Dv, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DV_CONFIG", str(home / "typo.toml"))
    result = dv("config", "get", "base", "--json")
    assert result.code == 2
    assert "DV_CONFIG is" in result.error["message"]
    assert dv("config", "set", "base", "mini").code == 0
    assert dv("config", "get", "base").out == "mini\n"


def test_a_byte_order_mark_is_no_text(dv: Dv) -> None:
    Path("dv.toml").write_bytes(b'\xef\xbb\xbfbase = "mini"\n')
    assert dv("config", "get", "base").code == 0
    assert dv("config", "set", "--project", "base", "modelscope").code in {0, 7}


def test_quiet_lists_pairs_for_scripts(dv: Dv, home: Path) -> None:
    lines = dv("config", "list", "-q").out.splitlines()
    assert f"registry={home / 'registry'}" in lines
    assert "no-input=false" in lines
