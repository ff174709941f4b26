"""What the user can mend: one line, exit status 2."""


class UserError(Exception):
    """Says in one line what was expected, what came, and which file or key is meant."""
