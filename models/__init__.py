"""PyTorch: what is trained, on what, and how. Offline only; the service never imports it."""
