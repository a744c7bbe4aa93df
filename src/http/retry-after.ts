/**
 * Returns the seconds to wait, at least `leastSeconds`. Random jitter of up to a quarter keeps rejected clients from
 * returning all at once.
 */
export function retryAfterSeconds(leastSeconds: number, random: () => number = Math.random): number {
  const seconds = Math.max(1, Math.ceil(leastSeconds))
  const spread = Math.ceil(seconds / 4)
  return seconds + Math.floor(random() * (spread + 1))
}
