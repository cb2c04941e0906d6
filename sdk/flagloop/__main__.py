"""`python -m flagloop` is the command `flagloop`."""

from flagloop.commands.main import main

if __name__ == "__main__":
    main()
