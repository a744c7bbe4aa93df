import { createHash } from 'node:crypto'
import type { PlannedArchive } from '../../src/retention/plan-types.ts'
import { planRetention } from '../../src/retention/plan.ts'
import { readPolicy } from '../../src/retention/policy-parser.ts'
import type { Policy } from '../../src/retention/policy.ts'

export const NOW = Date.UTC(2026, 10, 21, 12)
export const MIB = 1024 * 1024
export const HOUR = 3_600_000
export const DAY = 24 * HOUR

export interface ArchiveWish {
  readonly name: string
  readonly namespace?: string
  readonly pod?: string
  readonly container?: string
  readonly ageMs?: number
  readonly sizeBytes?: number
  readonly source?: PlannedArchive['identity']['source']
  readonly isTrusted?: boolean
  readonly state?: PlannedArchive['state']
  readonly engine?: PlannedArchive['engine']
  readonly isPinned?: boolean
  readonly isInUse?: boolean
  readonly orphanForMs?: number
}

export function archive({
  name,
  namespace = 'shop',
  pod = 'web-5d9c7b6f4-x2x9k',
  container = 'counter',
  ageMs = 0,
  sizeBytes = MIB,
  source = 'archive',
  isTrusted = source === 'archive' || source === 'observed',
  state = 'ready',
  engine = 'containerd',
  isPinned = false,
  isInUse = false,
  orphanForMs,
}: ArchiveWish): PlannedArchive {
  const fileName = `${name}.tar`
  return {
    id: createHash('sha256').update(fileName).digest('hex').slice(0, 16),
    fileName,
    generation: `1-${name}`,
    state,
    identity: { namespace, pod, podUid: `uid-${pod}`, container, source, isTrusted },
    engine,
    sizeBytes,
    takenAtMillis: NOW - ageMs,
    modifiedAtMillis: NOW - ageMs,
    isPinned,
    isInUse,
    ...(orphanForMs !== undefined && { orphanSinceMillis: NOW - orphanForMs }),
  }
}

/** `newest` is 0: `a0`, `a1`, … of one container, an hour between each two. */
export function series(
  count: number,
  wish: Partial<ArchiveWish> & { readonly prefix?: string } = {},
): PlannedArchive[] {
  const { prefix = 'a', ...rest } = wish
  return Array.from({ length: count }, (_, at) =>
    archive({ name: `${prefix}${String(at)}`, ageMs: at * HOUR, ...rest }),
  )
}

/** Throws where there is a mistake in it. `value` as it would stand in the file. */
export function policyOf(value: unknown): Policy {
  const { policy, mistakes } = readPolicy(value)
  if (mistakes.length > 0) throw new Error(JSON.stringify(mistakes))
  return policy
}

/** The names of what goes, in the order of the alphabet. */
export function removedBy(value: unknown, archives: readonly PlannedArchive[]): string[] {
  const { remove } = planRetention({ archives, policy: policyOf(value), nowMillis: NOW })
  return remove.map(({ archive: { fileName } }) => fileName.replace('.tar', '')).toSorted()
}
