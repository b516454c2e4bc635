"""`python -m taskodec`."""

from taskodec.cli.main import main

if __name__ == "__main__":
    main()
