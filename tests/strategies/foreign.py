"""What no field of the model knows, put into domain XML; and XML that nobody should ever write."""

import re
from collections.abc import Callable
from copy import deepcopy

from hypothesis import strategies as st
from lxml import etree
from lxml.etree import _Element as Element

_METADATA = (
    '<app:info xmlns:app="urn:example:app" note="ours"><app:owner>a &amp; b</app:owner></app:info>',
    '<os xmlns="urn:example:os"><guest owner="nobody"/><!-- said in passing --></os>',
)
_DEVICES = (
    '<redirdev bus="usb" type="tcp"><source mode="connect" host="here" service="4000"/></redirdev>',
    '<hostdev mode="subsystem" type="pci"><source><address bus="0x06"/></source></hostdev>',
    '<disk type="file" device="floppy"><source file="/srv/f.img"/><target dev="fda"/></disk>',
    '<disk type="block" device="lun"><source dev="/dev/sg1"/><target dev="sdx"/></disk>',
    '<interface type="bridge"><source bridge="br7"/></interface>',
    '<channel type="spicevmc"><target type="virtio" name="com.redhat.spice.0"/></channel>',
    '<serial type="tcp"><source mode="bind" host="127.0.0.1"/><target port="1"/></serial>',
    '<shmem name="shared"><model type="ivshmem-plain"/><size unit="M">4</size></shmem>',
)
_ELSEWHERE = (
    '<title>the "old" list server</title>',
    '<numatune><memory mode="strict" nodeset="0"/></numatune>',
    '<seclabel type="none"/>',
    '<q:commandline xmlns:q="urn:example:q"><q:arg value="-s"/></q:commandline>',
    "<os-like-thing>of a <b>newer</b> libvirt</os-like-thing>",
)

Injection = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def injections() -> st.SearchStrategy[Injection]:
    """Return foreign elements: of the metadata, of the devices, and of the domain itself."""

    def some(words: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
        return st.lists(st.sampled_from(words), unique=True).map(tuple)

    return st.tuples(some(_METADATA), some(_DEVICES), some(_ELSEWHERE))


def inject(text: str, foreign: Injection) -> str:
    """The text with foreign elements in it, and every device with an alias and an address."""
    domain = etree.fromstring(text)
    metadata = domain.find("metadata")
    if metadata is None:
        metadata = etree.SubElement(domain, "metadata")
    devices = domain.find("devices")
    assert devices is not None
    for number, device in enumerate(devices.iterchildren("*")):
        etree.SubElement(device, "alias", {"name": f"device{number}"})
        etree.SubElement(device, "address", {"type": "pci", "slot": hex(number)})
    for parent, words in zip((metadata, devices, domain), foreign, strict=True):
        for word in words:
            parent.append(etree.fromstring(word))
    return _text(domain) + "\n"


def foreign_parts(text: str, foreign: Injection) -> list[bytes]:
    """The foreign elements as they stand in ``text`` now, in canonical form and in order."""
    names = {bytes_of(etree.fromstring(word)) for words in foreign for word in words}
    domain = etree.fromstring(text)
    found = (bytes_of(element) for element in domain.iter("*"))
    return [one for one in found if one in names]


def bytes_of(element: Element) -> bytes:
    """What an element means, without what it inherits from where it stands."""
    copy = deepcopy(element)
    copy.tail = None
    return etree.tostring(copy, method="c14n", exclusive=True)


# ----------------------------------------------------------------------------------- nonsense

_TAGS = re.findall(
    r"\S+",
    """name uuid memory currentMemory vcpu os type kernel initrd cmdline boot loader bootloader
    devices disk driver source target readonly interface mac model serial console channel
    metadata features {urn:domops:mark:1}guest {urn:domops:mark:2}guest
    {urn:domops:mark:1}shutdown {urn:domops:mark:1}disk shutdown trash operation token nic
    cpu topology cputune vcpupin shares global_quota memoryBacking hugepages page
    rng graphics listen watchdog tpm backend video""",
)
_ATTRIBUTES = re.findall(
    r"\S+",
    """type arch machine dev bus file pool volume network bridge address unit current firmware order
    device name port owner uuid generation phase commit intent renderer protected timeout then
    since until kind id value filled ours mac target mode sockets cores threads vcpu cpuset size
    listen action version passwd""",
)
_WORDS = re.findall(
    r"\S+",
    """kvm xen qemu test lxc hvm linux xenpvh exe x86_64 aarch64 disk cdrom lun file block volume
    network bridge raw qcow2 vmdk virtio sata hd fd efi pflash vda sda xvda1 KiB GB furlong 0 1 2
    -1 4096 99999999999999999999999999 1e9 ² yes no ready frozen wait
    11111111-2222-3333-4444-555555555501 not-a-uuid 2026-01-01T00:00:00Z 2026-01-01T00:00:00
    0001-01-01T00:00:00+23:59 52:54:00:00:00:01 /srv/a.img org.qemu.guest_agent.0 pty""",
)


def _nonsensical_elements() -> st.SearchStrategy[Element]:
    words = st.sampled_from(["", " ", *_WORDS])
    attributes = st.dictionaries(st.sampled_from(_ATTRIBUTES), words, max_size=4)

    def leaf(tag: str, said: dict[str, str], text: str) -> Element:
        element = etree.Element(tag, said)
        element.text = text
        return element

    leaves = st.builds(leaf, st.sampled_from(_TAGS), attributes, words)

    def nest(children: st.SearchStrategy[Element]) -> st.SearchStrategy[Element]:
        return st.builds(_with_children, leaves, st.lists(children, max_size=4))

    return st.recursive(leaves, nest, max_leaves=12)


def _with_children(parent: Element, children: list[Element]) -> Element:
    copy = deepcopy(parent)
    copy.extend(deepcopy(child) for child in children)
    return copy


_elements = _nonsensical_elements()


def nonsense() -> st.SearchStrategy[str]:
    """Well-formed XML called ``domain``, of words that do occur in domain XML."""
    skeleton = "<domain type='kvm'><name>n</name><uuid>{}</uuid><memory>1</memory>{}</domain>"
    heads = st.sampled_from(("<os><type arch='x86_64'>hvm</type></os>", ""))
    plain = heads.map(lambda os: skeleton.format("11111111-2222-3333-4444-555555555501", os))

    def extend(text: str, children: list[Element]) -> str:
        return _text(_with_children(etree.fromstring(text), children))

    return st.builds(extend, plain, st.lists(_elements, max_size=5))


def spoiled(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Texts in which one thing was changed: an attribute, a word, a whole element, or a cut."""
    return st.builds(_spoil, texts, st.integers(0, 400), st.sampled_from(_SPOILERS), _any_word)


_any_word = st.sampled_from(_WORDS) | st.text(max_size=3)


def _spoil(text: str, where: int, how: Callable[[Element, str], None], word: str) -> str:
    domain = etree.fromstring(text)
    elements = list(domain.iter("*"))
    try:
        how(elements[where % len(elements)], word)
    except ValueError:  # a word that no XML can hold: then the text is merely cut off
        return text[: where % len(text)]
    return _text(domain)


def _change_attribute(element: Element, word: str) -> None:
    for name in list(element.attrib)[:1]:
        element.set(name, word)


def _drop_attribute(element: Element, _: str) -> None:
    for name in list(element.attrib)[:1]:
        del element.attrib[name]


def _change_text(element: Element, word: str) -> None:
    element.text = word


def _drop(element: Element, _: str) -> None:
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)


def _double(element: Element, _: str) -> None:
    parent = element.getparent()
    if parent is not None:
        parent.append(deepcopy(element))


def _surprise(element: Element, word: str) -> None:
    element.set("surprise", word)


_SPOILERS = (_change_attribute, _drop_attribute, _change_text, _drop, _double, _surprise)


def _text(element: Element) -> str:
    return etree.tostring(element, encoding="unicode")
