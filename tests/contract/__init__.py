"""The contract of the port to a host: one suite, passed by every implementation."""
