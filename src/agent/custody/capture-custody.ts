import type { CapturedArchive, CaptureFailure, CaptureState } from '../../checkpoint/capture-job.ts'
import type { ContainerIdentity } from '../../checkpoint/identity.ts'
import type { ContainerRuntime } from '../../runtime/container-runtime.ts'
import type { ActionActor } from '../checkpoint-actions.ts'
import type { CaptureFacts } from './capture-facts.ts'
import type { Custody } from './custody.ts'
import { readNodeFacts } from './node-facts.ts'
import { withoutHostPaths } from '../../shared/host-paths.ts'

/** One capture, as it goes on record. */
export interface CaptureSubject {
  readonly jobId: string
  readonly identity: ContainerIdentity
  readonly actor: ActionActor
  readonly reason: string | undefined
}

/** What the runtime says of the container and its pod before it is touched. */
export type ContainerFacts = Pick<CaptureFacts, 'image' | 'imageReference' | 'podLabels'>

/** The entries of a capture. None of them ever stops it: taking evidence is worth more than the entry about it. */
export interface CaptureCustody {
  /** Before the runtime is asked; resolves with what belongs to the entry of the outcome. */
  readonly intend: (subject: CaptureSubject) => Promise<ContainerFacts>
  /** Its archive is about to appear under a name: when it is seen it has not been discovered. */
  readonly expect: (checkpointId: string) => void
  readonly succeed: (
    subject: CaptureSubject,
    archive: CapturedArchive,
    file: { readonly inode: number; readonly modifiedAt: Date },
    facts: ContainerFacts,
  ) => Promise<void>
  readonly fail: (subject: CaptureSubject, state: CaptureState, failure: CaptureFailure) => Promise<void>
}

export interface CaptureCustodyOptions {
  readonly custody: Custody
  readonly runtime: ContainerRuntime
  readonly runtimeVersion: () => { readonly name: string; readonly version: string } | undefined
}

export function captureCustody({ custody, runtime, runtimeVersion }: CaptureCustodyOptions): CaptureCustody {
  return {
    async intend(subject) {
      const [facts] = await Promise.all([
        readContainerFacts(runtime, subject.identity.containerId),
        custody.note({ actor: subject.actor, action: 'capture', detail: about(subject), outcome: 'intended' }),
      ])
      return facts
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
    async fail(subject, state, { code, detail: text }) {
      const detail = { ...about(subject), state, code, text: withoutHostPaths(text) }
      const outcome = state === 'unknown-outcome' ? 'unknown' : 'failed'
      await custody.note({ actor: subject.actor, action: 'capture', detail, outcome })
    },
  }
}

function about({ jobId, identity, reason }: CaptureSubject) {
  return { job: jobId, identity: { ...identity }, ...(reason !== undefined && { reason }) }
}

async function readContainerFacts(runtime: ContainerRuntime, containerId: string): Promise<ContainerFacts> {
  try {
    const [sandboxes, containers] = await Promise.all([runtime.listSandboxes(), runtime.listContainers()])
    const container = containers.find(({ id }) => id === containerId)
    const labels = sandboxes.find(({ id }) => id === container?.sandboxId)?.labels
    return {
      ...(container !== undefined && { image: container.image }),
      ...(container?.imageReference !== undefined && { imageReference: container.imageReference }),
      ...(labels !== undefined && { podLabels: { ...labels } }),
    }
  } catch {
    // A runtime that does not answer will say so when it is asked for the checkpoint.
    return {}
  }
}
