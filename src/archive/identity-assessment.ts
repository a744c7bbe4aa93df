import { agreesWithName, parseArchiveName } from '../checkpoint/archive-name.ts'
import type { IdentitySource } from '../checkpoint/identity.ts'
import type { IdentityClaim } from './identity-claim.ts'

/** What can be said of an archive's container, and how it is known. Absent stays absent. */
export interface KnownIdentity {
  readonly namespace?: string
  readonly pod?: string
  readonly podUid?: string
  readonly container?: string
  readonly containerId?: string
  readonly source: Exclude<IdentitySource, 'observed'>
  /**
   * Whether the archive belongs to `namespace`: only then do that namespace's permissions and retention rules reach it.
   * All others are the node's.
   */
  readonly isTrusted: boolean
}

export interface IdentityEvidence {
  readonly claim: IdentityClaim | undefined
  readonly fileName: string
  /** From fstat: whoever could link an archive under a second name could make it say what it likes. */
  readonly linkCount: number
}

/**
 * A claim is believed where the kubelet's own words agree: it named the file after the pod it was asked for, and no
 * other name leads to the file. Not for captures that we observed: those need no belief.
 */
export function assessIdentity({ claim, fileName, linkCount }: IdentityEvidence): KnownIdentity {
  if (claim !== undefined && hasAnything(claim)) {
    const { namespace, pod, podUid, container, containerId } = claim
    return {
      ...(namespace !== undefined && { namespace }),
      ...(pod !== undefined && { pod }),
      ...(podUid !== undefined && { podUid }),
      ...(container !== undefined && { container }),
      ...(containerId !== undefined && { containerId }),
      source: 'archive',
      isTrusted: linkCount === 1 && !claim.isContradictory && agreesWithName(claim, fileName),
    }
  }
  return guessFromName(fileName)
}

/** The pod is certain; namespace and container are known only where a single dash separates them. */
function guessFromName(fileName: string): KnownIdentity {
  const parsed = parseArchiveName(fileName)
  return parsed === undefined
    ? { source: 'unknown', isTrusted: false }
    : { ...parsed, source: 'name', isTrusted: false }
}

function hasAnything({ namespace, pod, podUid, container, containerId }: IdentityClaim): boolean {
  return [namespace, pod, podUid, container, containerId].some((value) => value !== undefined)
}
