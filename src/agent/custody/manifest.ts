import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import { signEnvelope, type DsseEnvelope } from '../../custody/dsse.ts'
import { PREDICATE_TYPE, STATEMENT_TYPE } from '../../custody/manifest-statement.ts'
import type { Clock } from '../../shared/clock.ts'
import { ConflictError } from '../../shared/errors.ts'
import { inodeOf } from '../../checkpoint/generation.ts'
import type { Custody } from './custody.ts'
import { readNodeFacts } from './node-facts.ts'

export interface ManifestSources {
  readonly custody: Custody
  readonly node: string
  readonly agentVersion: string
  readonly runtimeVersion: () => { readonly name: string; readonly version: string } | undefined
  readonly clock: Clock
}

/** Signs a statement that is sent with the archive. Throws ConflictError until the digest is known. */
export function signManifest(checkpoint: Checkpoint, sources: ManifestSources): DsseEnvelope {
  const { id, fileName, sha256 } = checkpoint
  if (sha256 === undefined) {
    throw new ConflictError(`Cannot make a manifest of checkpoint "${id}": its digest is not known`, {
      code: 'DigestUnknown',
      hint:
        checkpoint.state === 'hashing' || checkpoint.state === 'discovered'
          ? 'Ask again when the state of the checkpoint is "ready".'
          : `Its state is "${checkpoint.state}"; POST /v1/checkpoints/${id}/verify reads such an archive too.`,
    })
  }
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: fileName, digest: { sha256 } }],
    predicateType: PREDICATE_TYPE,
    predicate: predicateOf(checkpoint, sources),
  }
  return signEnvelope(STATEMENT_TYPE, JSON.stringify(statement), sources.custody.key)
}

function predicateOf(checkpoint: Checkpoint, { custody, node, agentVersion, runtimeVersion, clock }: ManifestSources) {
  const { id, generation, sizeBytes, identity, engine, takenAt, discoveredAt, state, problems, summary } = checkpoint
  const { isTrusted: _, ...who } = identity
  const capture = custody.findObservedCapture({ checkpointId: id, inode: Number(inodeOf(generation)), sizeBytes })
  const end = custody.end
  const version = runtimeVersion()
  return {
    checkpoint: { id, sizeBytes, state, problems, engine, identity: who },
    takenAt: takenAt.text,
    discoveredAt: discoveredAt.toISOString(),
    archive: {
      image: summary.image,
      runtime: summary.runtime,
      criuVersion: summary.criuVersion,
      createdAt: summary.createdAt,
      startedAt: summary.startedAt,
    },
    // Node where the archive is now. An archive that was copied here may have been taken elsewhere.
    node: {
      name: node,
      agentVersion,
      ...readNodeFacts(),
      ...(version !== undefined && { runtime: `${version.name} ${version.version}` }),
    },
    // Included only if this agent took the checkpoint.
    ...(capture !== undefined && {
      capture: {
        job: capture.job,
        reason: capture.reason,
        takenAt: capture.takenAt,
        image: capture.image,
        imageReference: capture.imageReference,
        podLabels: capture.podLabels,
        ...capture.place,
      },
    }),
    ...(end !== undefined && { custodyHead: { ...end } }),
    keyId: custody.key.id,
    signedAt: clock.now().toISOString(),
  }
}
