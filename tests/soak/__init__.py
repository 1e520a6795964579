"""A controller under a storm of commits, interference and faults, watched for what it leaks."""
