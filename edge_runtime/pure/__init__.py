"""Functions without any I/O: topics, time tables, back-off, filters, event shapes."""
