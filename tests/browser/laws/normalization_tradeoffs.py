"""What the sliders of normalization's tradeoffs show, by the library."""

import numpy as np
from scipy import integrate, stats
from scipy.fft import dctn
from scipy.special import comb, ndtr

from actnorm import data


def changes():
    """Root mean square change of a whole swap, in gray levels: of colors, of frequencies."""
    temple, flower = (data.picture(name).double().numpy() for name in ("china", "flower"))
    turn = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])

    def maps(image):
        height, width = image.shape[1:]
        blocks = np.einsum("kc,chw->khw", turn, image).reshape(3, height // 8, 8, width // 8, 8)
        waves = dctn(blocks, axes=(2, 4), norm="ortho")
        return waves.transpose(0, 2, 4, 1, 3).reshape(192, -1)

    for flat in (lambda image: image.reshape(3, -1), maps):
        both = [flat(temple), flat(flower)]
        mean, spread = (np.subtract(*(f(m, axis=1) for m in both)) for f in (np.mean, np.std))
        yield 255 * np.sqrt(np.mean(mean**2 + spread**2))


COLORS, FREQUENCIES = changes()


def swapped(share):
    """What a share of each swap changes, in gray levels."""
    return share * COLORS, share * FREQUENCIES


def heard(loud, heads, tau):
    """A quiet head's size behind the norm, and what a linear reader finds of it; wide heads."""

    def mean(power):
        def weighted(g):
            s = loud * np.exp(tau * g)
            return stats.norm.pdf(g) * (heads / (s**2 + heads - 1)) ** power

        return integrate.quad(weighted, -8, 8, epsabs=1e-12, points=[-2, 0, 2])[0]

    return (heads / (loud**2 + heads - 1)) ** 0.5, mean(0.5) ** 2 / mean(1)


def recalibrated(gain, offset, share, examples):
    """Accuracy on two classes about -1 and 1: as it is, and with the mean of some examples."""
    n, spread = 2 ** int(examples), 0.5
    k = np.arange(n + 1)
    width, mean = spread * np.sqrt(1 + 1 / n), 2 * k / n - 1
    odds = comb(n, k) * share**k * (1 - share) ** (n - k)
    right = odds @ (ndtr((1 - mean) / width) + ndtr((1 + mean) / width)) / 2
    before = sum(ndtr((gain + s * offset) / (abs(gain) * spread)) for s in (1, -1)) / 2
    return before, right if gain > 0 else 1 - right


def company(share, m):
    """How often the sign tells the class among its own kind, and the deviation of the batch."""
    return ndtr(2 * (1 - share) * m * (1 - 1 / 40) ** -0.5), (
        1 + 4 * share * (1 - share) * m**2
    ) ** 0.5


LAWS = {
    "style": swapped,
    "loud-head": heard,
    "class-knob": company,
    "sim-to-real": recalibrated,
}
