"""When to look and how long to wait: the queue, the backoff, the triggers and the lease."""
