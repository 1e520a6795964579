"""The face for programs that look: metrics, health, and where else to look, over HTTP.

It reads what the last pass left, on threads of its own, and nothing that is asked of it can make a
pass wait or fail. It changes nothing: there is no request that has an effect.
"""
