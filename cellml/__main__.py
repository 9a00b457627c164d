"""`python -m cellml COMMAND`."""

from cellml.cli import main

if __name__ == "__main__":
    main()
