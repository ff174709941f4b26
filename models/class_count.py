"""How many classes the network of given weights has, by their shapes, beside another network."""

from collections import Counter
from collections.abc import Iterable

Shape = tuple[int, ...]


def class_count_by_pairs(pairs: Iterable[tuple[Shape, Shape]], num_classes: int) -> int | None:
    """Return the number of classes of weights that stand in the order of another network's.

    Args:
        pairs: Shapes of the other network's weights, each with that of the weight in its place.
        num_classes: Of the other network.

    Returns:
        The number, `num_classes` where all shapes are equal; None: more differs than classes.

    Example:
        >>> class_count_by_pairs([((1, 1, 256, 21), (1, 1, 256, 19)), ((21,), (19,))], 21)
        19
    """
    different = set()
    for ours, theirs in pairs:
        if len(ours) != len(theirs):
            return None
        different |= {sides for sides in zip(ours, theirs, strict=True) if sides[0] != sides[1]}
    if not different:
        return num_classes
    (ours, theirs), *more = different
    return theirs if ours == num_classes and not more else None


def class_count_by_shapes(
    ours: Iterable[Shape], theirs: Iterable[Shape], num_classes: int
) -> int | None:
    """Return the number of classes of weights that stand in any order.

    Args:
        ours: Shapes of all weights of the other network.
        theirs: Shapes of the weights.
        num_classes: Of the other network.

    Returns:
        The number, `num_classes` where all shapes are equal; None: more differs than classes.

    Example:
        >>> class_count_by_shapes([(256, 21), (21,), (3,)], [(19,), (3,), (256, 19)], 21)
        19
    """
    before, now = Counter(ours), Counter(theirs)
    lacking, more = [*(before - now).elements()], [*(now - before).elements()]
    if not lacking and not more:
        return num_classes
    ends = {shape[-1:] for shape in more}
    if len(ends) != 1 or ends == {()} or {shape[-1:] for shape in lacking} != {(num_classes,)}:
        return None
    ((found,),) = ends
    left = Counter(more)
    for shape in lacking:
        expected = [(*shape[:-1], found)]
        if shape[-2:] == (num_classes, num_classes):  # of a learnt upsampling, or by chance
            expected.append((*shape[:-2], found, found))
        left[next((one for one in expected if left[one]), shape)] -= 1
    return found if not any(left.values()) else None
