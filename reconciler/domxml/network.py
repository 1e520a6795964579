"""Images on the network: the ``<source>`` of a disk of type ``network``, for NBD and Ceph RBD.

A source that says more than a field models (TLS, a unix socket, a snapshot, a configuration file)
is not read half: it is another source, and is kept whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from reconciler.domxml.document import local_name, make, number
from reconciler.model.definition import DiskFormat, Endpoint, NbdSource, RbdSource, RbdUser

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

NBD_PORT = 10809
"""Where an NBD server listens if nobody says otherwise; libvirt fills it in."""


def read(source: Element, layout: DiskFormat) -> NbdSource | RbdSource | None:
    """The image that a source names, or None if it is of a sort, or says a thing, not modelled."""
    attributes = {
        str(name): str(value)
        for name, value in source.attrib.items()
        # What libvirt adds to the text of a running guest is no wish of anybody.
        if name != "index" and (name, value) != ("tls", "no")
    }
    protocol, name = attributes.pop("protocol", ""), attributes.pop("name", "")
    children = [child for child in source.iterchildren("*") if local_name(child) != "privateData"]
    servers = [_server(child) for child in children if child.tag == "host"]
    others = [child for child in children if child.tag != "host"]
    if attributes or None in servers:
        return None
    known = [server for server in servers if server is not None]
    match protocol:
        case "nbd" if len(known) == 1 and not others:
            server = Endpoint(host=known[0].host, port=known[0].port or NBD_PORT)
            return NbdSource(server=server, export=name, format=layout)
        case "rbd" if layout is DiskFormat.RAW:
            return _read_rbd(name, known, others)
        case _:
            return None


def _read_rbd(name: str, monitors: list[Endpoint], others: list[Element]) -> RbdSource | None:
    pool, slash, image = name.partition("/")
    if not (pool and slash and image) or "/" in image:
        return None
    user = None
    if others:
        user = _user(others[0])
        if user is None or len(others) > 1:
            return None
    return RbdSource(pool=pool, image=image, monitors=tuple(sorted(monitors, key=str)), user=user)


def render_nbd(wanted: NbdSource) -> Element:
    """Return a new source for an image that a server offers over NBD."""
    name = {"name": wanted.export} if wanted.export else {}
    return make("source", {"protocol": "nbd", **name}, _render_server(wanted.server))


def render_rbd(wanted: RbdSource) -> Element:
    """Return a new source for an image of a Ceph pool."""
    source = make(
        "source",
        {"protocol": "rbd", "name": f"{wanted.pool}/{wanted.image}"},
        *map(_render_server, wanted.monitors),
    )
    if wanted.user is not None:
        secret = make("secret", {"type": "ceph", "uuid": str(wanted.user.secret)})
        source.append(make("auth", {"username": wanted.user.name}, secret))
    return source


def _server(host: Element) -> Endpoint | None:
    """Where a ``<host>`` says to look, or None if it says more than a name and a port."""
    attributes = {str(name): str(value) for name, value in host.attrib.items()}
    name, port = attributes.pop("name", ""), attributes.pop("port", None)
    if attributes.pop("transport", "tcp") != "tcp" or attributes or not name:
        return None
    if port is None or port == "0":
        return Endpoint(host=name)
    found = number(port)
    return None if found is None else Endpoint(host=name, port=found)


def _render_server(server: Endpoint) -> Element:
    port = {} if server.port is None else {"port": str(server.port)}
    return make("host", {"name": server.host, **port})


def _user(auth: Element) -> RbdUser | None:
    secret = auth.find("secret")
    if auth.tag != "auth" or secret is None or len(auth) != 1 or secret.get("type") != "ceph":
        return None
    name = auth.get("username")
    try:
        uuid = UUID(secret.get("uuid", ""))
    except ValueError:
        return None
    return RbdUser(name=name, secret=uuid) if name else None
