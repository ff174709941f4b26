"""Options of losses and poolings: the arguments of their constructors."""

import inspect


def option_names(kind: type) -> list[str]:
    """Return the names of the arguments that a class' constructor takes.

    Those that it hands on as `**options` are the ones of the next class that has a constructor.

    Example:

    >>> class Base:
    ...     def __init__(self, *, name=None): ...
    >>> class Sub(Base):
    ...     def __init__(self, size=3, **options): ...
    >>> option_names(Sub)
    ['size', 'name']
    """
    names = []
    for owner in kind.__mro__:
        if "__init__" not in vars(owner):
            continue
        _, *parameters = inspect.signature(owner.__init__).parameters.values()
        named = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        names += [name for name in named if name not in names]
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return names
