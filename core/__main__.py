"""`python -m taskodec`."""

from taskodec.cli import main

if __name__ == "__main__":
    main()
