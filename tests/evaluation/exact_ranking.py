"""Reference implementation of the ranking: cosines of integer vectors as exact fractions."""

from fractions import Fraction


def dot(a, b):
    return sum(int(x) * int(y) for x, y in zip(a, b, strict=True))


def squared_cosine(a, b):
    """Return cos(a, b) |cos(a, b)|, which ranks like the cosine; 0 with a zero vector."""
    product, lengths = dot(a, b), dot(a, a) * dot(b, b)
    return Fraction(product * abs(product), lengths) if lengths else Fraction(0)


def ranking(query, items, without=None):
    """Return the row numbers of `items`, nearest first, ties in row order, `without` one row."""
    rows = [row for row in range(len(items)) if row != without]
    return sorted(rows, key=lambda row: (-squared_cosine(query, items[row]), row))
