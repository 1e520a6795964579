"""A real Xen host in an emulated machine: dom0, libvirt and paravirtual guests, on loopback."""
