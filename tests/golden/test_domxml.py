"""The XML of every way in which a guest can be told, as files that a person can read and judge.

``pytest tests/golden --regenerate`` writes them anew. Every file is accepted by libvirt's own
schema, and those of the test driver are defined in it.
"""

import shutil
import subprocess
from pathlib import Path

import libvirt
import pytest

from reconciler.domxml import merge, read, render
from reconciler.errors import StalledError
from reconciler.model import definition, mark, options, overlay
from reconciler.model.definition import DomainType, VolumeSource
from tests.golden.definitions import DEFINITIONS, PATHS
from tests.strategies.exercised import Exercised

HERE = Path(__file__).parent
EXPECTED = HERE / "expected"
RECORDED = sorted((HERE / "recorded").glob("*/*.xml"))
NODE = """<node><cpu><mhz>1000</mhz><model>i686</model><active>4</active><nodes>1</nodes>
<sockets>1</sockets><cores>4</cores><threads>1</threads></cpu><memory>8388608</memory></node>"""

VOLUMES = {path: VolumeSource(pool=pool, volume=name) for (pool, name), path in PATHS.items()}
ON_TEST_DRIVER = [name for name, one in DEFINITIONS.items() if one.domain_type is DomainType.TEST]

# Words and sources that can be read and kept but that domops never makes.
NEVER_MADE = {"Loader.PVGRUB", "LoaderBoot.loader", "OtherNicSource", "OtherSource"}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_xml_is_the_one_that_was_agreed_on(name: str, *, regenerate: bool) -> None:
    """A change to what hosts are told is seen in review, as XML."""
    path = EXPECTED / f"{name}.xml"
    text = render(DEFINITIONS[name], paths=PATHS)
    if regenerate:
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", DEFINITIONS)
def test_what_is_written_is_read_back(name: str) -> None:
    """Reading undoes rendering, and merging a text with what it says gives the very same text."""
    text = (EXPECTED / f"{name}.xml").read_text()
    reading = read(text, volumes=VOLUMES.get)
    assert reading.definition == DEFINITIONS[name]
    assert reading.mark_problem is None
    assert merge(text, reading.definition, paths=PATHS) == text


@pytest.mark.parametrize("name", DEFINITIONS)
def test_libvirts_own_schema_accepts_it(name: str) -> None:
    """No golden file holds an element that libvirt would drop or refuse."""
    validate = shutil.which("virt-xml-validate")
    assert validate, "virt-xml-validate is missing: install libvirt-clients"
    done = subprocess.run(
        [validate, EXPECTED / f"{name}.xml", "domain"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ON_TEST_DRIVER)
def test_libvirts_test_driver_takes_it_and_tells_the_same(name: str, tmp_path: Path) -> None:
    """What libvirt stores of a definition, with all that it adds, is read as that definition."""
    node = tmp_path / "node.xml"
    node.write_text(NODE)
    connection = libvirt.open(f"test://{node}")
    try:
        text = render(DEFINITIONS[name], paths=PATHS)
        domain = connection.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        stored = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
        reading = read(stored, volumes=VOLUMES.get)
        assert reading.definition == DEFINITIONS[name]
        assert reading.mark_problem is None
        assert merge(stored, reading.definition, paths=PATHS) == stored
    finally:
        connection.close()


def test_no_golden_file_is_left_over() -> None:
    """A file that no definition writes any more would be agreed on by nobody."""
    assert {path.stem for path in EXPECTED.iterdir()} == set(DEFINITIONS)


def test_every_field_and_word_of_the_model_is_in_a_golden_file() -> None:
    """A field that is added to the model and not told to libvirt fails here."""
    exercised = Exercised()
    for one in DEFINITIONS.values():
        exercised.note(one)
    assert set(exercised.never(definition, mark, options, overlay)) == NEVER_MADE


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_real_hosts_said_is_read_and_left_alone(path: Path) -> None:
    """Texts of real hypervisors, stored and running, are read, and merging them changes no byte."""
    text = path.read_text()
    if path.stem.startswith("domain-0."):
        with pytest.raises(StalledError, match="Domain-0"):
            read(text)
        return
    if path.suffixes[0] == ".given":
        return
    reading = read(text)
    assert reading.mark_problem is None
    assert merge(text, reading.definition) == text
