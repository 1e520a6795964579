"""Tell by numbers: what Prometheus is given, from values alone.

``families`` is the catalogue: no other series exists, and the reference is made from it. What a
pass found is rendered from that pass's own values (``passes``), so a series is there exactly as
long as its object is. Only what adds up over the life of the process is counted (``instruments``).
"""
