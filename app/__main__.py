"""`python -m app` is the command `makegood`."""

from app.cli import main

if __name__ == "__main__":
    main()
