"""How fast domops is, each figure beside its floor, measured in the same run."""
