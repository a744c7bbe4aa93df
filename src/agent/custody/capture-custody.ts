import type { CapturedArchive, CaptureFailure, CaptureState } from '../../checkpoint/capture-job.ts'
import type { ContainerIdentity } from '../../checkpoint/identity.ts'
import type { Actor } from '../../checkpoint/actor.ts'
import type { CaptureFacts } from './capture-facts.ts'
import type { Custody } from './custody.ts'
import { readNodeFacts } from './node-facts.ts'
import { withoutHostPaths } from '../../shared/host-paths.ts'

/** Capture to be recorded. */
export interface CaptureSubject {
  readonly jobId: string
  readonly identity: ContainerIdentity
  readonly actor: Actor
  readonly reason: string | undefined
}

/** Facts from the runtime about the container and its pod, read before the container is touched. */
export type ContainerFacts = Pick<CaptureFacts, 'image' | 'imageReference' | 'podLabels'>

/** Additional facts about a successful capture. */
export type ObservedFacts = ContainerFacts & Pick<CaptureFacts, 'dumpMillis'>

/**
 * Records the entries of a capture. A failed entry never stops the capture, because the evidence is worth more than its
 * entry.
 */
export interface CaptureCustody {
  /** Records the intent before the runtime is called. */
  readonly intend: (subject: CaptureSubject) => Promise<void>
  /** Announces an archive of this agent that is about to appear, so that it is not recorded as discovered. */
  readonly expect: (checkpointId: string) => void
  readonly succeed: (
    subject: CaptureSubject,
    archive: CapturedArchive,
    file: { readonly inode: number; readonly modifiedAt: Date },
    facts: ObservedFacts,
  ) => Promise<void>
  readonly fail: (subject: CaptureSubject, state: CaptureState, failure: CaptureFailure) => Promise<void>
}

export interface CaptureCustodyOptions {
  readonly custody: Custody
  readonly runtimeVersion: () => { readonly name: string; readonly version: string } | undefined
}

export function captureCustody({ custody, runtimeVersion }: CaptureCustodyOptions): CaptureCustody {
  return {
    async intend(subject) {
      await custody.note({ actor: subject.actor, action: 'capture', detail: about(subject), outcome: 'intended' })
    },
    expect: (checkpointId) => custody.expectOwn(checkpointId),
    async succeed(subject, { checkpointId, fileName, sizeBytes, takenAt }, { inode, modifiedAt }, facts) {
      const version = runtimeVersion()
      const detail: CaptureFacts = {
        ...about(subject),
        inode,
        modifiedAt: modifiedAt.toISOString(),
        takenAt: takenAt.toISOString(),
        ...facts,
        place: {
          ...readNodeFacts(),
          ...(version !== undefined && { runtime: `${version.name} ${version.version}` }),
        },
      }
      const checkpoint = { id: checkpointId, fileName, sizeBytes }
      await custody.note({ actor: subject.actor, action: 'capture', checkpoint, detail, outcome: 'done' })
    },
    async fail(subject, state, { code, detail: text, isArchiveKept }) {
      const detail = {
        ...about(subject),
        state,
        code,
        text: withoutHostPaths(text),
        ...(isArchiveKept === true && { isArchiveKept }),
      }
      const outcome = state === 'unknown-outcome' ? 'unknown' : 'failed'
      await custody.note({ actor: subject.actor, action: 'capture', detail, outcome })
    },
  }
}

function about({ jobId, identity, reason }: CaptureSubject) {
  return { job: jobId, identity: { ...identity }, ...(reason !== undefined && { reason }) }
}
