"""The settings: each source outdoes the one before, and what is wrong is told all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_the_command_line_outdoes_the_environment_and_that_the_file(tmp_path: Path) -> None:
    config = tmp_path / "domops.toml"
    config.write_text('repository = "/file"\nref = "file"\npath = "file"\npoll_s = 7\n')
    settings = load_settings(
        config=config,
        overrides={"repository": "/line", "ref": None},
        environment={"DOMOPS_REPOSITORY": "/environment", "DOMOPS_REF": "environment"},
    )
    assert (settings.repository, settings.ref, settings.path) == ("/line", "environment", "file")
    assert settings.poll_s == 7


def test_everything_wrong_is_told_at_once_with_where_it_was_said(tmp_path: Path) -> None:
    config = tmp_path / "domops.toml"
    config.write_text('repositry = "x"\npoll_s = "often"\n')
    with pytest.raises(SettingsError) as caught:
        load_settings(config=config, environment={"DOMOPS_KERNEL_PREFIXES": "/boot/guest:relative"})
    problems = caught.value.problems
    assert len(problems) == 3
    assert any(str(config) in one and "repositry: no such setting" in one for one in problems)
    assert any("poll_s" in one for one in problems)
    assert any('"relative" is no absolute folder' in one for one in problems)


@pytest.mark.parametrize("content", [b"poll_s = ", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_told(tmp_path: Path, content: bytes) -> None:
    config = tmp_path / "domops.toml"
    config.write_bytes(content)
    with pytest.raises(SettingsError, match="no TOML"):
        load_settings(config=config, environment={})


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(environment={"DOMOPS_CONFIG": str(tmp_path / "absent.toml")})


def test_lists_in_the_environment_are_parted_as_in_path(tmp_path: Path) -> None:
    environment = {
        "DOMOPS_KERNEL_PREFIXES": "/boot/guest:/srv/kernels",
        "DOMOPS_OVERLAY_ELEMENTS": "devices/sound:features/hyperv",
        "DOMOPS_STATE_DIR": str(tmp_path),
        "DOMOPS_SOMETHING_ELSE": "is left alone",
    }
    settings = load_settings(environment=environment)
    assert settings.kernel_prefixes == ("/boot/guest", "/srv/kernels")
    assert settings.overlay_elements == ("devices/sound", "features/hyperv")
    assert settings.state_dir == tmp_path


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("devices/emulator", "names a program of the host"),
        ("devices", "is a group"),
        ("devices/sound/codec", "is no place"),
    ],
)
def test_what_no_overlay_may_touch_cannot_be_opened(place: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f'command line: overlay_elements: "{place}" {why}'):
        load_settings(
            overrides={"overlay_elements": [place], "state_dir": tmp_path}, environment={}
        )


def test_every_setting_says_why_it_is_there() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert len(field.description) > 40, name


@pytest.mark.parametrize(
    "device", ["pci/0000:03:00.0", "dom0-a/pci/03:00.0", "dom0-a/usb/*", "dom0-a/usb/01.4"]
)
def test_a_device_that_could_never_match_is_no_setting(device: str) -> None:
    with pytest.raises(SettingsError, match="is no device of a host"):
        load_settings(environment={"DOMOPS_HOST_DEVICES": device})


def test_devices_in_the_environment_are_parted_by_commas() -> None:
    """Their addresses hold colons."""
    listed = "dom0-a/usb/046d:c52b,dom0-a/pci/0000:03:00.0"
    settings = load_settings(environment={"DOMOPS_HOST_DEVICES": listed})
    assert settings.host_devices == tuple(listed.split(","))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"signatures": "ssh"}, "name both, or neither"),
        ({"signers": "/etc/domops/signers"}, "name both, or neither"),
        (
            {"signatures": "openpgp", "signers": "/a", "revoked_signers": "/b"},
            "ssh keys alone",
        ),
    ],
)
def test_half_a_wish_for_signatures_is_refused(given: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load_settings(overrides=given, environment={})
