/**
 * Figures of a run, and how they are printed. Asserts nothing.
 */

/** The value that half of them are below; `share` for another part than half. */
export function percentile(values, share = 0.5) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** One line: what was measured, and the figure. */
export function print(what, figure) {
  process.stdout.write(`${what.padEnd(64)} ${figure}\n`);
}

/** "p50 … (p95 …, n …)" */
export function spread(values, unit) {
  const digits = Math.abs(percentile(values)) < 10 ? 2 : 1;
  const of = (share) => percentile(values, share).toFixed(digits);
  return `p50 ${of(0.5)} ${unit} (p95 ${of(0.95)}, ${values.length} of them)`;
}
