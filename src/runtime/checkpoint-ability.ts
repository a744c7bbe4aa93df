import { randomBytes } from 'node:crypto'
import { AgentError, errorText } from '../shared/errors.ts'
import type { ContainerRuntime } from './container-runtime.ts'

export type CheckpointAbility =
  | { readonly state: 'yes' }
  | { readonly state: 'no' | 'unknown'; readonly code: string; readonly reason: string; readonly hint?: string }

/** Checks whether a failure concerns the node rather than one container. */
export function isNodeFailure(code: string): boolean {
  return NODE_FAILURES.has(code)
}

const NODE_FAILURES: ReadonlySet<string> = new Set([
  'CheckpointNotImplemented',
  'CriPluginDisabled',
  'CriuDisabled',
  'CriuMissing',
  'CriuTooOld',
])

/**
 * Finds out whether the runtime can take checkpoints by requesting one of a container that cannot
 * exist. Both runtimes check for CRIU before the container, so "no such container" means yes. CRI-O
 * checks only when it starts, and neither runtime checks the needs of crun. A failed real
 * checkpoint is therefore more reliable.
 */
export async function probeCheckpointAbility(runtime: ContainerRuntime): Promise<CheckpointAbility> {
  const nobody = randomBytes(32).toString('hex')
  try {
    await runtime.checkpoint(nobody, '', AbortSignal.timeout(10_000))
  } catch (error) {
    return abilityFrom(error)
  }
  return {
    state: 'unknown',
    code: 'Unclassified',
    reason: 'the runtime claims to have checkpointed a container that does not exist',
  }
}

/**
 * Derives the node's ability from a failed checkpoint; `unknown` if the failure does not concern
 * the node.
 */
export function abilityFrom(error: unknown): CheckpointAbility {
  if (!(error instanceof AgentError)) return { state: 'unknown', code: 'Unclassified', reason: errorText(error) }
  if (error.code === 'ContainerNotFound') return { state: 'yes' }
  const state = NODE_FAILURES.has(error.code) ? 'no' : 'unknown'
  return { state, code: error.code, reason: error.message, ...(error.hint !== undefined && { hint: error.hint }) }
}
