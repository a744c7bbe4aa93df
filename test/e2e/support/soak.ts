/** Set by `make soak`: suites that repeat something do it hundreds of times, and take hours. */
export const IS_SOAK = process.env['SOAK'] === '1'

/** How often a suite repeats what it tries: enough to meet each case once, or many more in a soak. */
export function repetitions({
  usual = 20,
  soak = 200,
}: { readonly usual?: number; readonly soak?: number } = {}): number {
  return IS_SOAK ? soak : usual
}
