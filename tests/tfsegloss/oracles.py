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
    """Every size × size region as a column, centered."""
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


def max_pooling_weights(losses, p, fraction):
    """LMP's Theorem 1 on one image [N], α found by bisection on its logarithm."""
    losses = np.asarray(losses, np.float64)
    n = losses.size
    m = max(1.0, fraction * n)
    if p == np.inf or m >= n:
        return np.full(n, 1 / n)
    if p == 1:
        return highest_weights(losses, m)
    q = p / (p - 1)
    tau = n ** (-1 / q) * m ** (-1 / p)
    positive = losses > 0
    if positive.sum() <= m:
        return tau * positive
    logs = np.log(losses[positive])

    def mass(log_alpha):
        return np.exp(q * np.minimum(logs - log_alpha, 0)).sum()

    low, high = logs.min(), logs.max() + np.log(n) / q  # mass(low) > m ≥ mass(high)
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if mass(middle) > m else (low, middle)
    weights = np.zeros(n)
    weights[positive] = tau * np.exp((q - 1) * np.minimum(logs - high, 0))
    return weights


def highest_weights(losses, m):
    """1/m for the ⌊m⌋ highest; the rest of 1 to the next; equal losses share what they have."""
    order = np.argsort(-losses, kind="stable")
    weights = np.zeros(losses.size)
    for rank, place in enumerate(order):
        weights[place] = min(max(m - rank, 0), 1) / m
    for value in np.unique(losses):
        weights[losses == value] = weights[losses == value].mean()
    return weights


def minkowski_mean(losses, k):
    """(Σ ℓ^k / n)^(1/k) of one image, pixel by pixel; 0 without pixels."""
    total = 0.0
    highest = max([float(loss) for loss in losses], default=0.0)
    if highest == 0:
        return 0.0
    for loss in losses:
        total += (float(loss) / highest) ** k
    return highest * (total / len(losses)) ** (1 / k)


def top_mean(losses, fraction=0.25, threshold=None, min_kept=0):
    """Mean of the highest losses of one image, or of those whose e^−ℓ is below the threshold."""
    ranked = sorted((float(loss) for loss in losses), reverse=True)
    kept = max(1, int(np.ceil(fraction * len(ranked))))
    if threshold is not None:
        kept = max(sum(np.exp(-loss) < threshold for loss in ranked), min_kept)
    return np.mean(ranked[:kept]) if ranked[:kept] else 0.0


def softmax_focal_pixel_loss(x, y, alpha=0.25, gamma=2.0):
    """−α (1 − p_y)^γ log p_y of one pixel."""
    loss = softmax_pixel_loss(x, y)
    return alpha * (-np.expm1(-loss)) ** gamma * loss


def sigmoid_focal_pixel_loss(x, y, alpha=0.25, gamma=2.0):
    """Σ_c −α_t (1 − p_t)^γ log p_t of one pixel, y an id."""
    total = 0.0
    for c, logit in enumerate(np.asarray(x, np.float64)):
        sign, weight = (1, alpha) if c == y else (-1, 1 - alpha)
        p = 1 / (1 + np.exp(-sign * logit))
        total -= weight * (1 - p) ** gamma * np.log(p)
    return total


def center_distance(x, y, centers):
    """½ ‖x − c_y‖² of one pixel."""
    return sum((float(a) - float(b)) ** 2 for a, b in zip(x, centers[y], strict=True)) / 2


def moved_centers(labels, logits, centers, alpha=0.5, ignored=255):
    """Return the centers after one backward pass, pixel by pixel."""
    moved = np.array(centers, np.float64)
    for j in range(len(centers)):
        total, count = np.zeros(len(centers)), 0
        for i in np.ndindex(labels.shape):
            if labels[i] == j != ignored:
                total += centers[j] - logits[i]
                count += 1
        moved[j] -= alpha * total / (1 + count)
    return moved


def resize_aligned(x, height, width):
    """Bilinear, the corners' centers aligned, of one image `[H, W, C]`."""
    small = np.zeros([height, width, x.shape[2]])
    for i, j in np.ndindex(height, width):
        row = i * (x.shape[0] - 1) / max(height - 1, 1)
        column = j * (x.shape[1] - 1) / max(width - 1, 1)
        for k, m in np.ndindex(x.shape[:2]):
            small[i, j] += max(0, 1 - abs(k - row)) * max(0, 1 - abs(m - column)) * x[k, m]
    return small


def affinity_field(labels, logits, distance=1, margin=3.0, downsample_factor=8, ignored=255):
    """Mean edge and other terms of a batch, pair by pair."""
    sums, counts = {True: 0.0, False: 0.0}, {True: 0, False: 0}
    for y, x in zip(labels, logits, strict=True):
        height, width = (max(1, side // downsample_factor) for side in y.shape)
        x = resize_aligned(np.where((y == ignored)[..., None], 0, x), height, width)
        rows = [i * y.shape[0] // height for i in range(height)]
        y = y[np.ix_(rows, [j * y.shape[1] // width for j in range(width)])]
        p = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
        for i, j, c in np.ndindex(p.shape):
            for k, m in np.ndindex(3, 3):
                row, column = i + (k - 1) * distance, j + (m - 1) * distance
                inside = 0 <= row < height and 0 <= column < width
                other = y[row, column] if inside else None
                if k == m == 1 or ignored in (y[i, j], other):
                    continue
                ours, theirs = (
                    max(v, 1e-4) for v in (p[i, j, c], p[row, column, c] if inside else 0)
                )
                divergence = theirs * np.log(theirs / ours)
                ours, theirs = 1 - ours + 1e-4, 1 - theirs + 1e-4
                divergence += theirs * np.log(theirs / ours)
                edge = (y[i, j] == c) != (other == c)
                sums[edge] += max(0, margin - divergence) if edge else divergence
                counts[edge] += 1
    return tuple(sums[e] / counts[e] if counts[e] else 0.0 for e in (True, False))


def locally_adaptive(labels, logits, size, ignored=255):
    """LAD's pixel losses of one image, pixel by pixel and neighbor by neighbor."""
    z = logits - logits.mean(-1, keepdims=True)
    z = z / np.sqrt((z**2).mean(-1, keepdims=True) + 1e-6)
    losses = np.zeros(labels.shape)
    for i, j in np.argwhere(labels != ignored):
        pooled, count = np.zeros(logits.shape[-1]), 0
        for a, b in np.ndindex(labels.shape):
            distance = max(abs(a - i), abs(b - j))
            if distance <= size // 2 and labels[a, b] == labels[i, j]:
                pooled += 2.0 ** (1 - distance) * z[a, b]
                count += 1
        losses[i, j] = softmax_pixel_loss(pooled / count, labels[i, j])
    return losses


def gaussian_window(size, sigma):
    """Weights of sum 1."""
    axis = np.arange(size) - size // 2
    window = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * sigma**2))
    return window / window.sum()


def local_patches(plane, size):
    """Return the patch around each pixel, mirrored at the border: [H, W, size, size]."""
    padded = np.pad(plane, size // 2, mode="reflect")
    return np.lib.stride_tricks.sliding_window_view(padded, (size, size))


def structural_difference(y, p, size=3, sigma=1.5, stability=0.01):
    """SSL's e of one class' maps."""
    if size == 1:
        return abs(y - p)
    window = gaussian_window(size, sigma)

    def standardized(plane):
        patches = local_patches(plane, size)
        mean = (window * patches).sum((2, 3))
        variance = (window * (patches - mean[..., None, None]) ** 2).sum((2, 3))
        return (plane - mean + stability) / (np.sqrt(variance) + stability)

    return abs(standardized(y) - standardized(p))


def largest_difference(size=3, sigma=1.5):
    """SSL's e in the middle of a 1 among zeros, truth, and a 0 among ones."""
    one = np.zeros([4 * size + 1] * 2)  # so large that no window of the middle meets a border
    one[2 * size, 2 * size] = 1
    return structural_difference(one, 1 - one, size, sigma)[2 * size, 2 * size]


def structural_weights(labels, logits, size=3, sigma=1.5, beta=0.1, ignored=255):
    """SSL's e and f of one image, `[H, W, C]`."""
    valid, e = labels != ignored, []
    for c in range(logits.shape[-1]):
        p = valid / (1 + np.exp(-logits[..., c].astype(np.float64)))
        e.append(structural_difference((labels == c) * 1.0, p, size, sigma))
    e = np.stack(e, -1)
    return e, valid[..., None] & (e > beta * largest_difference(size, sigma))


def structural_similarity(labels, logits, size=3, sigma=1.5, beta=0.1, ignored=255):
    """SSL's Σ e f BCE and Σ f of one image."""
    e, f = structural_weights(labels, logits, size, sigma, beta, ignored)
    total = 0.0
    for c in range(logits.shape[-1]):
        x = logits[..., c].astype(np.float64)
        total += (e * f)[..., c].ravel() @ np.logaddexp(0, np.where(labels == c, -x, x)).ravel()
    return total, f.sum()


def structural_dissimilarity(labels, logits, form, size=3, sigma=1.5, ignored=255):
    """SSIM's map of one image, mean over the classes."""
    window = gaussian_window(size, sigma)
    maps = []
    for c in range(logits.shape[-1]):
        y = local_patches((labels == c) * 1.0, size)
        p = local_patches((labels != ignored) / (1 + np.exp(-logits[..., c])), size)
        mean_y, mean_p = ((window * patches).sum((2, 3)) for patches in (y, p))
        cy, cp = y - mean_y[..., None, None], p - mean_p[..., None, None]
        variances = (window * (cy**2 + cp**2)).sum((2, 3))
        similarity = (2 * (window * cy * cp).sum((2, 3)) + 9e-4) / (variances + 9e-4)
        if form == "full":
            similarity *= (2 * mean_y * mean_p + 1e-4) / (mean_y**2 + mean_p**2 + 1e-4)
        maps.append(1 - similarity)
    return np.mean(maps, 0) * (labels != ignored)


def softmax(x):
    """Along the last axis."""
    exponentials = np.exp(x - x.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def tversky(labels, p, *, alpha, beta, gamma, smooth, classes):
    """mean_c (1 − T_c)^γ of labels [N] and probabilities [N, C]."""
    losses = []
    for c in range(p.shape[1]):
        t = labels == c
        if classes == "present" and not t.any():
            continue
        hit, false, missed = p[t, c].sum(), p[~t, c].sum(), (1 - p[t, c]).sum()
        index = (hit + smooth) / (hit + alpha * false + beta * missed + smooth)
        losses.append((1 - index) ** gamma)
    return np.mean(losses)


def lovasz_softmax_errors(labels, x):
    """|y − p| [N, C]."""
    return abs(np.eye(x.shape[1])[labels] - softmax(x))


def lovasz_hinge_errors(labels, x):
    """max(0, 1 − x (2y − 1)) [N, C]."""
    return np.maximum(0, 1 - x * (2 * np.eye(x.shape[1])[labels] - 1))


def lovasz_extension(errors, truth):
    """Σ_k m_k (Δ({1 … k}) − Δ({1 … k − 1})) of the Jaccard loss Δ of sets of mistakes."""

    def jaccard_loss(mistaken):
        union = set(np.flatnonzero(truth)) | mistaken
        return len(mistaken) / len(union) if union else 0.0

    mistaken, total = set(), 0.0
    for k in np.argsort(-errors):
        before = jaccard_loss(mistaken)
        mistaken = mistaken | {k}
        total += errors[k] * (jaccard_loss(mistaken) - before)
    return total
