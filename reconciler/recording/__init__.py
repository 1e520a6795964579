"""Tell what happened: metrics, status, events and notifications.

Recording may fall silent, but it may never fail a pass.
"""
