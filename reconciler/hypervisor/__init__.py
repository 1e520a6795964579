"""The door to the hypervisors: a port that speaks definitions, and what stands behind it.

The only room that imports libvirt. It observes and obeys, translates foreign errors into ours,
and decides nothing.
"""
