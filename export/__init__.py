"""Checkpoint in, verified bundle out. Offline; the service never imports it."""
