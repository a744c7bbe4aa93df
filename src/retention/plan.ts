import { formatDuration, formatPercentage, formatSize } from '../shared/quantity.ts'
import { BlockedLimits, obstacleOf } from './blocked-limits.ts'
import { openCases, type Candidate } from './candidates.ts'
import { chooseForDisk, missingBytes } from './disk-relief.ts'
import { markKept } from './keep-rules.ts'
import { applyLimits, mayGo } from './limits.ts'
import { planId } from './plan-id.ts'
import type { Plan, PlannedArchive, PlannedDisk, PlannedRemoval, Reason } from './plan-types.ts'
import type { DiskPolicy, Policy } from './policy.ts'
import { reason } from './reasons.ts'

export interface PlanInput {
  readonly archives: readonly PlannedArchive[]
  readonly policy: Policy
  readonly nowMillis: number
  /** Absent to remove nothing for the sake of the disk. */
  readonly disk?: PlannedDisk
}

/**
 * Decides which archives to remove and which to keep, with reasons. The order of the input does not
 * matter.
 */
export function planRetention({ archives, policy, nowMillis, disk }: PlanInput): Plan {
  const book = openCases(archives, policy)
  markKept(book, nowMillis)
  applyLimits(book, policy, nowMillis)
  const { cases } = book
  const words = new Explanations(policy, nowMillis)
  for (const one of cases) one.goes ||= words.isUnsoundTooLong(one)

  const blocked = new BlockedLimits()
  for (const one of cases) if (!one.goes) blocked.add(one)
  const forDisk = new Set<Candidate>()
  const bytes = sizeOf(cases)
  const missing = disk === undefined ? 0 : missingBytes(disk, policy.disk)
  const diskNotOurs = missing > bytes
  if (missing > 0 && !diskNotOurs) {
    for (const one of relieve(missing, { cases, blocked, limit: words.disk })) forDisk.add(one)
  }

  const goes = (one: Candidate) => one.goes || forDisk.has(one)
  const remove = cases.filter(goes).map((one): PlannedRemoval => {
    return { archive: one.archive, reasons: forDisk.has(one) ? words.ofDisk : words.removalReasons(one) }
  })
  // Oldest first: an interrupted sweep has then removed the least valuable archives.
  remove.reverse()
  let keep: readonly PlannedRemoval[] | undefined
  return {
    id: planId(policy, remove),
    remove,
    // Computed on demand: most archives stay, and their reasons are rarely read.
    get keep() {
      keep ??= cases
        .filter((one) => !goes(one))
        .map((one) => ({ archive: one.archive, reasons: words.keepReasons(one) }))
      return keep
    },
    blocked: blocked.list(),
    diskNotOurs,
    totals: {
      archives: archives.length,
      bytes,
      removedArchives: remove.length,
      removedBytes: remove.reduce((sum, { archive }) => sum + archive.sizeBytes, 0),
    },
  }
}

interface Relief {
  readonly cases: readonly Candidate[]
  readonly blocked: BlockedLimits
  /** The limit as text. */
  readonly limit: string
}

/** Chooses further removals that free the missing bytes. */
function relieve(missing: number, { cases, blocked, limit }: Relief): Candidate[] {
  const bytes = missing - sizeOf(cases.filter(({ goes }) => goes))
  const held = cases.filter(({ goes }) => !goes)
  // An explicit rule may remove archives of uncertain identity by age. Disk relief must not,
  // because nobody named them.
  const chosen = chooseForDisk(held, {
    bytes,
    mayGo: (one) => one.archive.identity.isTrusted && one.place.rule !== undefined && mayGo(one),
  })
  const left = bytes - sizeOf(chosen)
  if (left > 0) {
    const inTheWay = held.filter((one) => one.archive.state === 'ready' && obstacleOf(one) !== undefined)
    blocked.addForDisk(limit, left, inTheWay)
  }
  return chosen
}

/** Creates the reasons of a plan; archives share equal ones. */
class Explanations {
  readonly disk: string
  readonly ofDisk: readonly Reason[]
  readonly #afterMs: Readonly<Record<'incomplete' | 'damaged', number>>
  readonly #unsound: Readonly<Record<'incomplete' | 'damaged', readonly Reason[]>>
  readonly #young: Readonly<Record<'incomplete' | 'damaged', readonly Reason[]>>
  readonly #withinLimits = new Map<string, readonly Reason[]>()
  readonly #nowMillis: number

  constructor({ disk, incompleteAfterMs, damagedAfterMs }: Policy, nowMillis: number) {
    this.#nowMillis = nowMillis
    this.disk = diskWords(disk)
    this.ofDisk = [reason('disk', this.disk, 'disk')]
    this.#afterMs = { incomplete: incompleteAfterMs, damaged: damagedAfterMs }
    const incomplete = `incompleteAfter ${formatDuration(incompleteAfterMs)}`
    const damaged = `damagedAfter ${formatDuration(damagedAfterMs)}`
    this.#unsound = {
      incomplete: [reason('incompleteAfter', incomplete, 'policy')],
      damaged: [reason('damagedAfter', damaged, 'policy')],
    }
    this.#young = {
      incomplete: [reason('notReady', `it is incomplete, and was written within ${incomplete}`)],
      damaged: [reason('notReady', `it is damaged, and was written within ${damaged}`)],
    }
  }

  /**
   * Checks whether an incomplete or damaged archive is old enough to remove. A file whose name is
   * not that of a checkpoint may belong to another program, so it stays.
   */
  isUnsoundTooLong({ archive }: Candidate): boolean {
    const { state } = archive
    if ((state !== 'incomplete' && state !== 'damaged') || archive.isPinned || archive.isInUse) return false
    return archive.identity.source !== 'unknown' && this.#nowMillis - archive.modifiedAtMillis > this.#afterMs[state]
  }

  removalReasons({ archive, excesses }: Candidate): readonly Reason[] {
    const { state } = archive
    return state === 'incomplete' || state === 'damaged'
      ? this.#unsound[state]
      : excesses.map((excess) => excess.reason)
  }

  keepReasons(one: Candidate): readonly Reason[] {
    const { archive, kept, place } = one
    const { state } = archive
    if (archive.isPinned) return PINNED
    if (archive.isInUse) return IN_USE
    if (state === 'incomplete' || state === 'damaged') {
      return archive.identity.source === 'unknown' ? UNSOUND_STRANGERS[state] : this.#young[state]
    }
    if (state !== 'ready') return NOT_READY[state]
    if (place.rule === undefined) return STRANGER
    return kept.length > 0 ? kept : this.#within(place.rule.name)
  }

  #within(rule: string): readonly Reason[] {
    const known = this.#withinLimits.get(rule) ?? [reason('withinLimits', 'within every limit', rule)]
    this.#withinLimits.set(rule, known)
    return known
  }
}

const PINNED = [reason('pinned', 'it is pinned')]
const IN_USE = [reason('inUse', 'it is being read or written')]
const STRANGER = [reason('unknownIdentity', 'whose it is is not known for sure, and no rule names such archives')]
const UNSOUND_STRANGERS = {
  incomplete: [reason('unknownIdentity', 'it is incomplete, and nobody knows whose')],
  damaged: [reason('unknownIdentity', 'it is damaged, and nobody knows whose')],
}
const NOT_READY = {
  discovered: [reason('notReady', 'it is discovered')],
  hashing: [reason('notReady', 'it is hashing')],
}

function diskWords({ highWatermark, lowWatermark, minFreeBytes }: DiskPolicy): string {
  const free = minFreeBytes > 0 ? `, minFree ${formatSize(minFreeBytes)}` : ''
  return `disk ${formatPercentage(highWatermark)} to ${formatPercentage(lowWatermark)}${free}`
}

function sizeOf(cases: readonly Candidate[]): number {
  return cases.reduce((sum, { archive }) => sum + archive.sizeBytes, 0)
}
