import { createHash, type Hash } from 'node:crypto'
import { jsonBytes } from '../../custody/plain-json.ts'
import { withoutHostPaths } from '../../shared/host-paths.ts'
import type { ContentIntent, ContentOutcome } from '../content/content-recorder.ts'
import { addRange, mergeNearest, rangeText, type ByteInterval } from './byte-interval.ts'

/** Maximum numbers of ranges and member names in the entry that ends a window, if they fit. */
const MAX_RANGES = 200
const MAX_NAMES = 200
/** Maximum number of ranges held while a window is open. Beyond it, the nearest ranges are merged. */
const MAX_KEPT_RANGES = 1_000

/** Collects the content sent to one client of one archive, for the entry that ends the window. */
export class SentContent {
  #ranges: ByteInterval[] = []
  #isApproximate = false
  readonly #names = new Set<string>()
  #memberRequests = 0
  #rootfsDiffs = 0
  readonly #digest: Hash = createHash('sha256')
  #requests = 0
  #sentBytes = 0
  #result: ContentOutcome['result'] = 'sent'
  #error: string | undefined

  get result(): ContentOutcome['result'] {
    return this.#result
  }

  /** Counts an accepted request. Its sent bytes follow with `add`. */
  begin({ what, member }: ContentIntent): void {
    this.#requests += 1
    if (what === 'rootfs-diff') this.#rootfsDiffs += 1
    if (what !== 'member' || member === undefined) return
    this.#memberRequests += 1
    this.#digest.update(member).update('\0')
    if (this.#names.size < MAX_NAMES) this.#names.add(member)
  }

  add({ intent: { what, range }, result, sentBytes, error }: ContentOutcome): void {
    this.#sentBytes += sentBytes
    if (result !== 'sent') this.#result = result
    if (error !== undefined) this.#error = error
    if (what !== 'archive' || range === undefined || sentBytes === 0) return
    const { first, end } = range
    addRange(this.#ranges, { first, end: Math.min(end, first + sentBytes) })
    if (this.#ranges.length <= MAX_KEPT_RANGES) return
    this.#ranges = [...mergeNearest(this.#ranges, MAX_KEPT_RANGES / 2)]
    this.#isApproximate = true
  }

  /**
   * Describes the sent content in at most `maxBytes` of JSON. Ranges that do not fit are merged, which covers more
   * bytes but never fewer.
   */
  describe(maxBytes: number): Readonly<Record<string, unknown>> {
    const about = {
      requests: this.#requests,
      sentBytes: this.#sentBytes,
      ...(this.#rootfsDiffs > 0 && { rootfsDiffs: this.#rootfsDiffs }),
      ...(this.#error !== undefined && { error: withoutHostPaths(this.#error).slice(0, MAX_ERROR_CHARACTERS) }),
    }
    const room = maxBytes - jsonBytes(about) - FIELD_NAMES_BYTES
    const members = this.#describeMembers(this.#ranges.length === 0 ? room : room / 2)
    const left = room - (members === undefined ? 0 : jsonBytes(members))
    return { ...about, ...this.#describeRanges(left), ...(members !== undefined && { members }) }
  }

  #describeMembers(maxBytes: number) {
    if (this.#memberRequests === 0) return undefined
    const names: string[] = []
    let room = maxBytes - MEMBER_FRAME_BYTES
    for (const name of this.#names) {
      room -= jsonBytes(name) + 1
      if (room < 0) break
      names.push(name)
    }
    const requests = this.#memberRequests
    if (names.length === this.#names.size && this.#names.size < MAX_NAMES) return { requests, names }
    // Digest of all names in the order of their requests, each followed by a NUL.
    return { requests, names, sha256: this.#digest.copy().digest('hex') }
  }

  #describeRanges(maxBytes: number) {
    let most = MAX_RANGES
    for (;;) {
      const kept = mergeNearest(this.#ranges, most)
      const ranges = kept.map(rangeText)
      const isApproximate = this.#isApproximate || kept.length < this.#ranges.length
      if (most === 1 || jsonBytes(ranges) <= maxBytes) return { ranges, ...(isApproximate && { approximate: true }) }
      most = Math.max(1, Math.floor(kept.length * 0.75))
    }
  }
}

const MAX_ERROR_CHARACTERS = 300
/** Length of `"ranges":`, `"approximate":true`, `"members":` and the commas. */
const FIELD_NAMES_BYTES = 64
/** Length of `{"requests":…,"names":[],"sha256":"…"}`. */
const MEMBER_FRAME_BYTES = 130
