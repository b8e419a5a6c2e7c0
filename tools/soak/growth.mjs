// Whether a row of figures grows steadily.

/**
 * The line of least squares through (x, y): its slope, and the standard error of that.
 * @param points at least three
 */
export function slopeOf(points) {
  const n = points.length;
  const mean = (of) => points.reduce((sum, point) => sum + of(point), 0) / n;
  const [x, y] = [mean(([x]) => x), mean(([, y]) => y)];
  const spread = points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0);
  const slope = points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0) / spread;
  const rest = points.reduce((sum, point) => sum + (point[1] - y - slope * (point[0] - x)) ** 2, 0);
  return { slope, error: Math.sqrt(rest / (n - 2) / spread) };
}

/** Growth is steady where the second half of the points rises by more than `limit`, and by more than chance would. */
export function growth(points, limit) {
  const half = points.slice(points.length >> 1);
  if (half.length < 3) return undefined;
  const { slope, error } = slopeOf(half);
  return { slope, error, steady: slope > limit && slope > 3 * error };
}
