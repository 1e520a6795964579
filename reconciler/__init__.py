"""domops: a git repository says which guests exist, a control loop keeps the hosts so.

The rooms of this package, lowest first, are ``errors`` and ``model``, ``manifests``, ``domxml``,
``planner``, ``hypervisor``, ``source``, ``journal``, ``executor``, ``recording``, ``controller``,
and the faces ``settings``, ``bootstrap``, ``cli`` and ``web``. A module imports only from below.
"""
