"""One file per resource: parse, call, return."""
