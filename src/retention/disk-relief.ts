import type { Candidate } from './candidates.ts'
import type { PlannedDisk } from './plan-types.ts'
import type { DiskPolicy } from './policy.ts'

/** Computes how many bytes a sweep must free in total; 0 while the disk is not too full. */
export function missingBytes(disk: PlannedDisk, { highWatermark, lowWatermark, minFreeBytes }: DiskPolicy): number {
  const { totalBytes, freeBytes } = disk
  if (totalBytes <= 0) return 0
  const isTooFull = totalBytes - freeBytes > totalBytes * highWatermark || freeBytes < minFreeBytes
  if (!isTooFull) return 0
  return Math.max(0, Math.ceil(Math.max(totalBytes * (1 - lowWatermark), minFreeBytes)) - freeBytes)
}

/** Computes how many bytes can be written before the disk is too full. */
export function bytesUntilTooFull(disk: PlannedDisk, { highWatermark, minFreeBytes }: DiskPolicy): number {
  const { totalBytes, freeBytes } = disk
  return Math.max(0, freeBytes - Math.max(totalBytes * (1 - highWatermark), minFreeBytes))
}

/**
 * Chooses archives until enough bytes are free: repeatedly the oldest archive of the namespace that
 * uses the most space. A tenant that floods the disk therefore loses its own archives first. `held`
 * lists the archives that stay so far, newest first, and `mayGo` selects the removable ones.
 */
export function chooseForDisk(
  held: readonly Candidate[],
  { bytes, mayGo }: { readonly bytes: number; readonly mayGo: (one: Candidate) => boolean },
): Candidate[] {
  const waiting = new FullestFirst(tenantsOf(held, mayGo))
  const chosen: Candidate[] = []
  for (let missing = bytes; missing > 0;) {
    const one = waiting.takeOldest()
    if (one === undefined) break
    missing -= one.archive.sizeBytes
    chosen.push(one)
  }
  return chosen
}

interface Tenant {
  readonly name: string
  /** Bytes of all its archives, including those that must stay. */
  heldBytes: number
  /** Removable archives, newest first; the oldest is taken from the end. */
  readonly spare: Candidate[]
}

function tenantsOf(held: readonly Candidate[], mayGo: (one: Candidate) => boolean): Tenant[] {
  const tenants = new Map<string, Tenant>()
  for (const one of held) {
    const name = one.place.tenant
    let tenant = tenants.get(name)
    if (tenant === undefined) {
      tenant = { name, heldBytes: 0, spare: [] }
      tenants.set(name, tenant)
    }
    tenant.heldBytes += one.archive.sizeBytes
    if (mayGo(one)) tenant.spare.push(one)
  }
  return [...tenants.values()].filter(({ spare }) => spare.length > 0)
}

/**
 * A heap of tenants. Searching all namespaces for every archive would take minutes if there are
 * many of both.
 */
class FullestFirst {
  readonly #heap: Tenant[]

  constructor(tenants: readonly Tenant[]) {
    this.#heap = tenants.toSorted((a, b) => (isFuller(a, b) ? -1 : 1))
  }

  /** Takes the oldest removable archive of the fullest tenant; undefined if there is none. */
  takeOldest(): Candidate | undefined {
    const fullest = this.#heap[0]
    const one = fullest?.spare.pop()
    if (fullest === undefined || one === undefined) return undefined
    fullest.heldBytes -= one.archive.sizeBytes
    const last = fullest.spare.length === 0 ? this.#heap.pop() : fullest
    if (last !== undefined && this.#heap.length > 0) this.#sinkFromTop(last)
    return one
  }

  #sinkFromTop(tenant: Tenant): void {
    let at = 0
    for (;;) {
      const left = this.#heap[2 * at + 1]
      const right = this.#heap[2 * at + 2]
      if (left === undefined) break
      const isRight = right !== undefined && isFuller(right, left)
      const child = isRight ? right : left
      if (!isFuller(child, tenant)) break
      this.#heap[at] = child
      at = 2 * at + (isRight ? 2 : 1)
    }
    this.#heap[at] = tenant
  }
}

function isFuller(a: Tenant, b: Tenant): boolean {
  return a.heldBytes > b.heldBytes || (a.heldBytes === b.heldBytes && a.name < b.name)
}
