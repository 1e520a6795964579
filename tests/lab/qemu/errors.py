"""What can go wrong with the QEMU lab, in sentences that say what to do."""


class LabError(RuntimeError):
    """The lab could not do what was asked of it."""
