"""What runs inside the worker processes.

These files are also started by path in an interpreter that knows nothing of `edge_runtime`, so they import the standard
library and each other (by relative import) and nothing else.
"""
