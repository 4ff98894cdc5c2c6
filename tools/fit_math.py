"""Fit the polynomials of csrc/loops/simd_math.h and print them.

Each is the weighted minimax polynomial of its function, found by the exchange algorithm of Remez
(1934) in 50 digits and then rounded. The weight turns the error of the polynomial into
the relative error of the result. Needs mpmath.

    python tools/fit_math.py
"""

from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp

mp.mp.dps = 50

Function = Callable[[mp.mpf], mp.mpf]


@dataclass
class Fit:
    """A polynomial of `degree` for `target` on [low, high]; `weight` scales its error."""

    name: str
    meaning: str
    target: Function
    weight: Function
    low: mp.mpf
    high: mp.mpf
    degree: int
    digits: int = 9  # that name a float32; 17 for a float64


def remez(fit: Fit, grid_size: int = 1500, rounds: int = 30) -> tuple[list[mp.mpf], mp.mpf]:
    """Return the coefficients, lowest power first, and the largest weighted error."""
    middle, half = (fit.low + fit.high) / 2, (fit.high - fit.low) / 2
    grid = [middle - half * mp.cos(mp.pi * i / grid_size) for i in range(grid_size + 1)]
    values = [fit.target(x) for x in grid]
    weights = [fit.weight(x) for x in grid]
    n_points = fit.degree + 2
    points = [round(grid_size * i / (n_points - 1)) for i in range(n_points)]

    for _ in range(rounds):
        # The polynomial whose weighted error is +e, -e, +e, ... at the points.
        rows = [
            [grid[p] ** power for power in range(fit.degree + 1)]
            + [(-1) ** i / max(weights[p], mp.mpf("1e-30"))]
            for i, p in enumerate(points)
        ]
        solution = mp.lu_solve(mp.matrix(rows), mp.matrix([values[p] for p in points]))
        coefficients = [solution[i] for i in range(fit.degree + 1)]
        errors = [
            w * (v - mp.polyval(coefficients[::-1], x))
            for x, v, w in zip(grid, values, weights, strict=True)
        ]
        # The largest error of each run of one sign; then the best n_points of them in a row.
        peaks: list[int] = []
        for i, error in enumerate(errors):
            if error == 0:
                continue
            if peaks and (error > 0) == (errors[peaks[-1]] > 0):
                if abs(error) > abs(errors[peaks[-1]]):
                    peaks[-1] = i
            else:
                peaks.append(i)
        while len(peaks) > n_points:
            peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
        largest = max(abs(error) for error in errors)
        if len(peaks) < n_points or largest < abs(solution[fit.degree + 1]) * mp.mpf("1.001"):
            return coefficients, largest
        points = peaks
    return coefficients, largest


def literal(x: mp.mpf, digits: int = 9) -> str:
    """A constant of C: nine significant digits name a float32, seventeen a float64."""
    return mp.nstr(x, digits, min_fixed=-3, max_fixed=9) + ("f" if digits == 9 else "")


def root(z: mp.mpf) -> mp.mpf:
    # At z = 0 the quotients below are 0 / 0; the limit is reached well before 1e-20.
    return mp.sqrt(max(z, mp.mpf("1e-20")))


def nonzero(x: mp.mpf) -> mp.mpf:
    return x if abs(x) > mp.mpf("1e-10") else mp.mpf("1e-10")


def normal_tail(a: mp.mpf) -> mp.mpf:
    return mp.erfc(nonzero(a) / mp.sqrt(2)) / 2 * mp.exp(nonzero(a) ** 2 / 2)


HALF_LN2 = mp.log(2) / 2
QUARTER_PI = mp.pi / 4
LARGEST_S = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)
SPLIT_TANH, SPLIT_ERF = mp.mpf("0.625"), mp.mpf("0.92")

FITS = [
    Fit(
        "exp",
        "exp(r) = 1 + r + r^2 p(r), |r| <= ln(2)/2",
        lambda r: (mp.expm1(nonzero(r)) - nonzero(r)) / nonzero(r) ** 2,
        lambda r: r**2 / mp.exp(r),
        -HALF_LN2,
        HALF_LN2,
        4,
    ),
    Fit(
        "tanh",
        "tanh(x) = x + x z p(z), z = x^2, |x| <= 0.625",
        lambda z: (mp.tanh(root(z)) / root(z) - 1) / root(z) ** 2,
        lambda z: z * root(z) / mp.tanh(root(z)),
        mp.mpf(0),
        SPLIT_TANH**2,
        4,
    ),
    Fit(
        "erf",
        "erf(x) = x + x p(z), z = x^2, |x| <= 0.92",
        lambda z: mp.erf(root(z)) / root(z) - 1,
        lambda z: root(z) / mp.erf(root(z)),
        mp.mpf(0),
        SPLIT_ERF**2,
        6,
    ),
    Fit(
        "erf tail",
        "1 - erf(x) = exp(p(x)), 0.92 <= x <= 4",
        lambda x: mp.log(mp.erfc(x)),
        lambda x: mp.erfc(x) / mp.erf(x),
        SPLIT_ERF,
        mp.mpf(4),
        6,
    ),
    Fit(
        "normal",
        "F(-a) exp(a^2/2) = 1/2 + a p(a), F the normal distribution function, 0 <= a <= 5",
        lambda a: (normal_tail(a) - mp.mpf(0.5)) / nonzero(a),
        lambda a: a * mp.exp(-(a**2) / 2),
        mp.mpf(0),
        mp.mpf(5),
        10,
    ),
    Fit(
        "log",
        "log(1 + f) = f - f^2/2 + f^3 p(f), sqrt(1/2) <= 1 + f <= sqrt(2)",
        lambda f: (mp.log1p(nonzero(f)) - f + f**2 / 2) / nonzero(f) ** 3,
        lambda f: f**3 / mp.log1p(nonzero(f)),
        mp.sqrt(2) / 2 - 1,
        mp.sqrt(2) - 1,
        7,
    ),
    Fit(
        "expm1",
        "expm1(r) = r + r^2 p(r), |r| <= ln(2)/2",
        lambda r: (mp.expm1(nonzero(r)) - nonzero(r)) / nonzero(r) ** 2,
        lambda r: r**2 / mp.expm1(nonzero(r)),
        -HALF_LN2,
        HALF_LN2,
        5,
    ),
    Fit(
        "sin",
        "sin(r) = r + r z p(z), z = r^2, |r| <= pi/4",
        lambda z: (mp.sin(root(z)) / root(z) - 1) / root(z) ** 2,
        lambda z: z * root(z) / mp.sin(root(z)),
        mp.mpf(0),
        QUARTER_PI**2,
        2,
    ),
    Fit(
        "cos",
        "cos(r) = 1 - z/2 + z^2 p(z), z = r^2, |r| <= pi/4",
        lambda z: (mp.cos(root(z)) - 1 + root(z) ** 2 / 2) / root(z) ** 4,
        lambda z: z**2 / mp.cos(root(z)),
        mp.mpf(0),
        QUARTER_PI**2,
        2,
    ),
    Fit(
        "log2",
        "log2((1 + s) / (1 - s)) = s p(z), z = s^2, sqrt(1/2) <= (1 + s) / (1 - s) <= sqrt(2)",
        lambda z: mp.log((1 + root(z)) / (1 - root(z)), 2) / root(z),
        lambda z: root(z) / mp.log((1 + root(z)) / (1 - root(z)), 2),
        mp.mpf(0),
        LARGEST_S**2,
        4,
        17,
    ),
    Fit(
        "exp2",
        "2^f = p(f), |f| <= 1/2",
        lambda f: mp.mpf(2) ** f,
        lambda f: mp.mpf(2) ** -f,
        mp.mpf(-0.5),
        mp.mpf(0.5),
        7,
        17,
    ),
]


def main() -> None:
    for fit in FITS:
        coefficients, error = remez(fit)
        print(f"{fit.name}: {fit.meaning}; largest error 2^{mp.nstr(mp.log(error, 2), 4)}")
        for power, coefficient in enumerate(coefficients):
            print(f"    {power}: {literal(coefficient, fit.digits)}")
    print("log2(e)", literal(1 / mp.log(2)))
    # The high part has few enough bits for n * high to be exact for every exponent n.
    high = mp.floor(mp.log(2) * 2**15) / 2**15
    print("ln(2) =", literal(high), "+", literal(mp.log(2) - high))
    # 33 bits, so that whole numbers below 2^20 times it are exact.
    high = mp.floor(mp.pi / 2 * 2**32) / 2**32
    print("pi/2 =", literal(high, 17), "+", literal(mp.pi / 2 - high, 17))
    print("2/pi =", literal(2 / mp.pi, 17))


if __name__ == "__main__":
    main()
