"""Oracle for the ranking: cosines of integer vectors compared as exact fractions."""

from fractions import Fraction


def dot(a, b):
    return sum(int(x) * int(y) for x, y in zip(a, b, strict=True))


def squared_cosine(a, b):
    """cos(a, b) |cos(a, b)|, which ranks as the cosine does; 0 with a zero vector."""
    product, lengths = dot(a, b), dot(a, a) * dot(b, b)
    return Fraction(product * abs(product), lengths) if lengths else Fraction(0)


def ranking(query, items, without=None):
    """Row numbers of `items`, nearest first, ties in row order; row `without` left out."""
    rows = [row for row in range(len(items)) if row != without]
    return sorted(rows, key=lambda row: (-squared_cosine(query, items[row]), row))
