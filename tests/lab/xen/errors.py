"""What can go wrong with the Xen lab, in sentences that say what to do."""


class LabError(RuntimeError):
    """The lab cannot be built, started or asked; the message says why and what would help."""
