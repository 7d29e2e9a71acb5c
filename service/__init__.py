"""Bundle in, HTTP out."""
