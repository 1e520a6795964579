"""Paths of a host that a manifest may name: decided by who runs the controller, never in it.

A path that the hypervisor opens as root is a way to any byte of the host, so by default there is
none. Where the settings are not known, as on somebody's laptop, nothing of this is checked.
"""

from __future__ import annotations


def is_below(path: str, prefixes: tuple[str, ...]) -> bool:
    """Whether ``path`` is one of ``prefixes`` or below one, name by name."""
    return any(path == prefix or path.startswith(prefix.rstrip("/") + "/") for prefix in prefixes)


def refusal(path: str, prefixes: tuple[str, ...], setting: str) -> tuple[str, str]:
    """What is wrong with ``path``, and which setting of the controller would allow it."""
    return (
        f'"{path}" is not below a path that the controller allows',
        f"allowed: {', '.join(prefixes) or 'none'}; see its setting {setting}",
    )
