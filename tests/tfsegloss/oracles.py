"""The formulas in float64 NumPy, in plain loops, from the papers; nothing of tfsegloss."""

import numpy as np


def softmax_pixel_loss(x, y):
    """−log softmax(x)_y of one pixel."""
    x = np.asarray(x, np.float64)
    return -(x[y] - x.max() - np.log(np.exp(x - x.max()).sum()))


def sigmoid_pixel_loss(x, y):
    """Σ_c BCE of one pixel, y an id."""
    x = np.asarray(x, np.float64)
    signs = np.where(np.arange(len(x)) == y, -1, 1)
    return np.logaddexp(0, signs * x).sum()


def mean_over_valid(pixel_loss, labels, logits, ignored=255):
    """Mean of a pixel loss over all valid pixels of the batch."""
    losses = [
        pixel_loss(logits[i], labels[i]) for i in np.ndindex(labels.shape) if labels[i] != ignored
    ]
    return np.mean(losses) if losses else 0.0


def average_pool(plane, factor):
    """factor // 2 zeros around, mean over factor × factor blocks, zeros counted."""
    padded = np.pad(plane, factor // 2)
    height, width = (size // factor for size in padded.shape)
    return np.array(
        [
            [
                padded[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor].mean()
                for j in range(width)
            ]
            for i in range(height)
        ]
    )


def region_points(plane, size):
    """Every size × size region as a column, centred."""
    rows, columns = plane.shape[0] - size + 1, plane.shape[1] - size + 1
    points = np.stack(
        [plane[i : i + size, j : j + size].ravel() for i in range(rows) for j in range(columns)], 1
    )
    return points - points.mean(1, keepdims=True)


def region_mutual_information(labels, logits, size=3, factor=4, epsilon=5e-4, ignored=255):
    """Σ_c ½ log det(M + εI) / d of one image, average pooling."""
    total = 0.0
    for c in range(logits.shape[-1]):
        valid = labels != ignored
        truth = average_pool((labels == c) * 1.0, factor)
        p = 1 / (1 + np.exp(-logits[..., c].astype(np.float64)))
        y = region_points(truth, size)
        p = region_points(average_pool(p * valid + 1e-6, factor), size)
        ridge = epsilon * np.eye(size**2)
        m = y @ y.T - y @ p.T @ np.linalg.inv(p @ p.T + ridge) @ p @ y.T
        total += 0.5 * np.linalg.slogdet(m + ridge)[1] / size**2
    return total
