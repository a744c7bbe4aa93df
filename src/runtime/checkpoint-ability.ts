import { randomBytes } from 'node:crypto'
import { AgentError, errorText } from '../shared/errors.ts'
import type { ContainerRuntime } from './container-runtime.ts'

export type CheckpointAbility =
  | { readonly state: 'yes' }
  | { readonly state: 'no' | 'unknown'; readonly code: string; readonly reason: string; readonly hint?: string }

/** Whether a failure says something about the node, whichever container was meant. */
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
 * Whether the runtime can take checkpoints, found out without taking one: it is asked for a container that cannot
 * exist. Both runtimes look for CRIU before they look for the container, so "no such container" is a yes. CRI-O looks when
 * it starts, and neither knows what crun needs: a checkpoint that failed for such a reason knows better.
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

/** What a failed checkpoint tells about the node; `unknown` when it tells nothing. */
export function abilityFrom(error: unknown): CheckpointAbility {
  if (!(error instanceof AgentError)) return { state: 'unknown', code: 'Unclassified', reason: errorText(error) }
  if (error.code === 'ContainerNotFound') return { state: 'yes' }
  const state = NODE_FAILURES.has(error.code) ? 'no' : 'unknown'
  return { state, code: error.code, reason: error.message, ...(error.hint !== undefined && { hint: error.hint }) }
}
