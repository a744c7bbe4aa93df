import type { CapturedArchive, CaptureFailure, CaptureState } from '../../checkpoint/capture-job.ts'
import type { ContainerIdentity } from '../../checkpoint/identity.ts'
import type { Actor } from '../../checkpoint/actor.ts'
import type { CaptureFacts } from './capture-facts.ts'
import type { Custody } from './custody.ts'
import { readNodeFacts } from './node-facts.ts'
import { withoutHostPaths } from '../../shared/host-paths.ts'

/** One capture, as it goes on record. */
export interface CaptureSubject {
  readonly jobId: string
  readonly identity: ContainerIdentity
  readonly actor: Actor
  readonly reason: string | undefined
}

/** What the runtime says of the container and its pod before it is touched. */
export type ContainerFacts = Pick<CaptureFacts, 'image' | 'imageReference' | 'podLabels'>

/** What is known besides of a capture that has succeeded. */
export type ObservedFacts = ContainerFacts & Pick<CaptureFacts, 'dumpMillis'>

/** The entries of a capture. None of them ever stops it: taking evidence is worth more than the entry about it. */
export interface CaptureCustody {
  /** Before the runtime is asked. */
  readonly intend: (subject: CaptureSubject) => Promise<void>
  /** Its archive is about to appear under a name: when it is seen it has not been discovered. */
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
