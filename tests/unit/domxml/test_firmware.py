"""UEFI: which firmware is chosen is the host's matter, its variables are the guest's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domxml import merge, read
from reconciler.errors import RefusedError
from reconciler.model.definition import Firmware, FirmwareBoot

_TEXT = """\
<domain type='kvm'>
  <name>web</name>
  <uuid>11111111-2222-3333-4444-555555555501</uuid>
  <memory unit='KiB'>131072</memory>
  <vcpu>1</vcpu>
  <os{attributes}>
    <type arch='x86_64' machine='q35'>hvm</type>{inside}
    <boot dev='hd'/>
  </os>
  <devices/>
</domain>
"""
_NVRAM = "<nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>{path}</nvram>"
_LOADER = "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>"


def _text(inside: str = "", attributes: str = "") -> str:
    return _TEXT.format(inside=inside, attributes=attributes)


def _with(text: str, firmware: Firmware) -> str:
    definition = read(text).definition
    return merge(text, replace(definition, boot=FirmwareBoot(firmware=firmware)))


def test_a_guest_that_gets_uefi_trusts_nobodys_keys_yet() -> None:
    """Libvirt's first choice would start only what Microsoft has signed."""
    text = _with(_text(), Firmware.UEFI)
    assert 'firmware="efi"' in text
    assert '<feature enabled="no" name="enrolled-keys"/>' in text
    assert "loader" not in text


def test_what_a_person_chose_of_firmware_stays() -> None:
    chosen = _text(
        "<firmware><feature enabled='yes' name='secure-boot'/></firmware>", " firmware='efi'"
    )
    for text in (chosen, _text(_LOADER + _NVRAM.format(path="/srv/web.fd"))):
        assert _with(text, Firmware.UEFI) == text


def test_firmware_that_goes_leaves_nothing_behind_in_the_text() -> None:
    """The variables' file stays where libvirt finds it again."""
    path = "/var/lib/libvirt/qemu/nvram/web_VARS.fd"
    text = _with(_text(_LOADER + _NVRAM.format(path=path)), Firmware.BIOS)
    assert read(text).definition.boot == FirmwareBoot()
    for gone in ("loader", "nvram", "firmware"):
        assert gone not in text


def test_variables_at_a_place_of_their_own_are_never_forgotten() -> None:
    """A definition that no longer names them would find others when it comes back to UEFI."""
    text = _text(_LOADER + _NVRAM.format(path="/srv/web.fd"))
    with pytest.raises(RefusedError, match=r"variables lie at /srv/web\.fd"):
        _with(text, Firmware.BIOS)
