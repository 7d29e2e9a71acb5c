"""What the service costs, measured: load generator, budgets, and other servers under the same load."""
