/**
 * How many whole seconds to wait, at least so many: some add a part of it, so that those who were refused together do
 * not come back together.
 */
export function retryAfterSeconds(leastSeconds: number, random: () => number = Math.random): number {
  const seconds = Math.max(1, Math.ceil(leastSeconds))
  const spread = Math.ceil(seconds / 4)
  return seconds + Math.floor(random() * (spread + 1))
}
