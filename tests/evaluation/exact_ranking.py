"""Reference implementation of the ranking, with exact fractions for cosines of integer vectors."""

from fractions import Fraction


def dot(a, b):
    return sum(int(x) * int(y) for x, y in zip(a, b, strict=True))


def squared_cosine(a, b):
    """Return cos(a, b) |cos(a, b)|, which ranks like the cosine; 0 if a vector is zero."""
    product, lengths = dot(a, b), dot(a, a) * dot(b, b)
    return Fraction(product * abs(product), lengths) if lengths else Fraction(0)


def ranking(query, items, without=None):
    """Return the row numbers of `items`, nearest first, ties in row order, omitting `without`."""
    rows = [row for row in range(len(items)) if row != without]
    return sorted(rows, key=lambda row: (-squared_cosine(query, items[row]), row))
