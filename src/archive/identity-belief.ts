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
  readonly isBelieved: boolean
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
export function judgeIdentity({ claim, fileName, linkCount }: IdentityEvidence): KnownIdentity {
  if (claim !== undefined && hasAnything(claim)) {
    const { namespace, pod, podUid, container, containerId } = claim
    return {
      ...(namespace !== undefined && { namespace }),
      ...(pod !== undefined && { pod }),
      ...(podUid !== undefined && { podUid }),
      ...(container !== undefined && { container }),
      ...(containerId !== undefined && { containerId }),
      source: 'archive',
      isBelieved: linkCount === 1 && !claim.isContradictory && agreesWithName(claim, fileName),
    }
  }
  return guessFromName(fileName)
}

/** Whether the kubelet would have given this name to an archive of this container. */
export function agreesWithName({ namespace, pod, container }: IdentityClaim, fileName: string): boolean {
  if (namespace === undefined || pod === undefined || container === undefined) return false
  if (!isSubdomain(pod) || !isLabel(namespace) || !isLabel(container)) return false
  const beginning = `checkpoint-${pod}_${namespace}-${container}-`
  // All of the rest is the time: else the name is that of a container whose name only begins like this one's.
  return fileName.startsWith(beginning) && TIME_AND_SUFFIX.test(fileName.slice(beginning.length))
}

/** RFC 3339 in whole seconds, as the kubelet writes it. */
const TIME = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)`
const TIME_AND_SUFFIX = new RegExp(`^${TIME}\\.tar$`)
const KUBELET_NAME = new RegExp(`^checkpoint-(?<pod>[^_]+)_(?<rest>[^_]+)-${TIME}\\.tar$`)

/** The pod is certain; namespace and container are only where one dash alone can separate them. */
function guessFromName(fileName: string): KnownIdentity {
  const { pod, rest = '' } = KUBELET_NAME.exec(fileName)?.groups ?? {}
  if (pod === undefined || !isSubdomain(pod)) return { source: 'unknown', isBelieved: false }
  const [namespace = '', container = '', more] = rest.split('-')
  const isCertain = more === undefined && isLabel(namespace) && isLabel(container)
  return { pod, ...(isCertain && { namespace, container }), source: 'name', isBelieved: false }
}

function hasAnything({ namespace, pod, podUid, container, containerId }: IdentityClaim): boolean {
  return [namespace, pod, podUid, container, containerId].some((value) => value !== undefined)
}

function isLabel(text: string): boolean {
  return text.length <= 63 && /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/.test(text)
}

function isSubdomain(text: string): boolean {
  return text.length <= 253 && text.split('.').every((part) => /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/.test(part))
}
