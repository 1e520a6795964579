"""The files that ``domops init`` writes: a repository that validates, and does nothing yet.

Its guest and its second host are comments, so that the first plan is empty on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID


def starter_files(repository: UUID, *, name: str) -> Mapping[str, str]:
    """Every file of a new repository of manifests, by its path."""
    return {
        "domops.yaml": _REPOSITORY.format(name=name, repository=repository),
        "pools/main.yaml": _POOL,
        "hosts/README.md": _HOSTS,
        "guests/README.md": _GUESTS,
    }


_REPOSITORY = """\
# The id is what the marks on the hosts carry: it says which guests belong to this repository.
# Keep it for ever, also when the repository moves; never copy it into another one.
apiVersion: domops/v1
kind: Repository
metadata: {{name: {name}}}
spec:
  id: {repository}
"""

_POOL = """\
# A pool is the hosts between which guests may live: the unit of placement and of budgets.
apiVersion: domops/v1
kind: Pool
metadata: {name: main}
spec:
  # enforce: a commit is carried out. warn: it is only shown, until `domops apply` is asked.
  mode: enforce
  # At most so many guests are deleted a day; more are held together until a person approves.
  budget: {deletions: 1}
  # A deleted guest stays on its host, stopped, with its disks, for this long.
  trash: {keep: 30d}
"""

_HOSTS = """\
# hosts/

One file a host. Take this for the first one, as `hosts/dom0-a.yaml`:

```yaml
apiVersion: domops/v1
kind: Host
metadata: {name: dom0-a}
spec:
  uri: xen+tls://dom0-a.example.org/system   # qemu:///system for a KVM host
  pool: main
---
apiVersion: domops/v1
kind: Storage
metadata: {name: guests}
spec: {type: dir, libvirtPool: default}      # a storage pool that libvirt on the host knows
---
apiVersion: domops/v1
kind: Network
metadata: {name: servers}
spec: {bridge: br0}
```
"""

_GUESTS = """\
# guests/

One file a guest. Take this for the first one, as `guests/hello.yaml`:

```yaml
apiVersion: domops/v1
kind: Guest
metadata: {name: hello}
spec:
  pool: main
  type: hvm                                  # pv and pvh, on Xen, boot a kernel of the host
  cpus: 1
  memory: 512MiB
  boot: {firmware: bios, order: [disk]}
  disks:
    - {name: root, size: 4GiB, storage: guests}
  networks:
    - {name: eth0, network: servers}
```

Then `domops validate .`, `domops plan --from .`, commit, push.
"""
