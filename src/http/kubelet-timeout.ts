import { queryValues } from './kubelet-target.ts'

const INT64_MIN = -(2n ** 63n)
const INT64_MAX = 2n ** 63n - 1n

/** Milliseconds that a timer of Node.js can run, 24.8 days. Longer waits are answered then. */
const MAX_TIMER_MS = 2 ** 31 - 1

export interface KubeletTimeout {
  /**
   * Time that the caller waits. Undefined for a negative timeout, which is rejected later. 0 for a timeout that
   * overflows the kubelet's clock and has therefore already expired.
   */
  readonly timeoutMs: number | undefined
}

/** Reads the last `timeout` in the query, in seconds. Returns undefined if it is not a 64-bit integer. */
export function readKubeletTimeout(query: string, minimumWaitSeconds: number): KubeletTimeout | undefined {
  const seconds = parseInt64(queryValues(query, 'timeout').at(-1) ?? '0')
  if (seconds === undefined) return undefined
  if (seconds < 0n) return { timeoutMs: undefined }
  if (seconds <= BigInt(Math.trunc(minimumWaitSeconds))) return { timeoutMs: minimumWaitSeconds * 1000 }

  const nanoseconds = BigInt.asIntN(64, seconds * 1_000_000_000n)
  if (nanoseconds <= 0n) return { timeoutMs: 0 }
  return { timeoutMs: Math.min(Math.ceil(Number(nanoseconds) / 1e6), MAX_TIMER_MS) }
}

/** Parses an integer like Go's strconv.ParseInt with base 10. */
function parseInt64(text: string): bigint | undefined {
  if (!/^[+-]?0*[0-9]{1,19}$/.test(text)) return undefined
  const value = BigInt(text.replace(/^\+/, ''))
  return value < INT64_MIN || value > INT64_MAX ? undefined : value
}
