"""`python -m edge_runtime` is the `edge` command."""

from edge_runtime.cli import main

if __name__ == "__main__":
    main()
