import { agreesWithName, parseArchiveName } from '../checkpoint/archive-name.ts'
import type { IdentitySource } from '../checkpoint/identity.ts'
import type { IdentityClaim } from './identity-claim.ts'

/**
 * Identity of an archive's container, and its source. Fields whose value is unknown are omitted.
 */
export interface KnownIdentity {
  readonly namespace?: string
  readonly pod?: string
  readonly podUid?: string
  readonly container?: string
  readonly containerId?: string
  readonly source: Exclude<IdentitySource, 'observed'>
  /**
   * True if the archive belongs to `namespace`. Only then do the permissions and retention rules of
   * that namespace apply; all other archives belong to the node.
   */
  readonly isTrusted: boolean
}

export interface IdentityEvidence {
  readonly claim: IdentityClaim | undefined
  readonly fileName: string
  /** Link count from fstat. A second name for an archive could support a false claim. */
  readonly linkCount: number
}

/**
 * Assesses the identity that an archive claims. A claim is trusted if it matches the kubelet's file
 * name, which comes from the requested pod, and if the file has no other name. Captures observed by
 * the agent do not need this.
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

/**
 * Derives the identity from the file name. The pod is certain; namespace and container are known
 * only if a single dash separates them.
 */
function guessFromName(fileName: string): KnownIdentity {
  const parsed = parseArchiveName(fileName)
  return parsed === undefined
    ? { source: 'unknown', isTrusted: false }
    : { ...parsed, source: 'name', isTrusted: false }
}

function hasAnything({ namespace, pod, podUid, container, containerId }: IdentityClaim): boolean {
  return [namespace, pod, podUid, container, containerId].some((value) => value !== undefined)
}
