import type { ContainerRuntime } from '../../runtime/container-runtime.ts'
import { isAnswered } from '../../runtime/cri-connection.ts'
import type { FreezeState } from '../../runtime/freeze-control.ts'
import type { FreezeGuard, FreezeWatch } from '../../runtime/freeze-guard.ts'
import { AgentError, errorText, RuntimeFailureError } from '../../shared/errors.ts'
import { removalHint, type LeftoverImages } from '../containers/leftover-images.ts'
import { awaitAbandonedDump, awaitUnansweredDump, passes } from './abandoned-dump.ts'
import type { AdmissionTools } from './admission.ts'
import type { StagedCheck } from './staged-check.ts'

export interface EndingTools extends AdmissionTools {
  readonly runtime: ContainerRuntime
  readonly freezeGuard: FreezeGuard
  readonly stagedCheck: StagedCheck
  /** Memory images of the container that the runtime has just failed to export. */
  readonly findLeftoverImages?: (containerId: string) => Promise<LeftoverImages | undefined>
}

export interface BadEnding {
  readonly tools: EndingTools
  readonly containerId: string
  /** What is recorded when the container has to be resumed. */
  readonly about: Readonly<Record<string, unknown>>
  readonly dumpMayTakeMs: number
  /** Only a container that was seen to run before the call may have been paused by it. */
  readonly wasSeenRunning: boolean
  readonly stagingId: string
  /** Aborted where the capture was given up. */
  readonly signal: AbortSignal
  readonly holdUntil: (settled: Promise<unknown>) => void
}

/** Failures by which the runtime says that it has not touched the container. */
const NOT_TOUCHED: ReadonlySet<string> = new Set(['ContainerPaused', 'ContainerNotRunning', 'ContainerNotFound'])

/** A dump that was given up is waited for at least this long. */
const SHORTEST_WAIT_MS = 30_000

/** The call is still under way, though a dump of this size cannot be. */
class NoAnswerError extends Error {
  /** Resolves with true once the runtime has answered all the same. */
  readonly answered: Promise<boolean>

  constructor(answered: Promise<boolean>) {
    super('the runtime has not answered for longer than a dump of this size may take')
    this.name = 'NoAnswerError'
    this.answered = answered
  }
}

export interface CallWait {
  readonly givenUp: AbortSignal
  readonly dumpMayTakeMs: number
  readonly shortestWaitMs?: number
}

/**
 * Waits for a call that cannot be cancelled, also after it was given up; then only until a dump of this size cannot be
 * running any more.
 */
export async function answerInTime(
  call: Promise<void>,
  { givenUp, dumpMayTakeMs, shortestWaitMs = SHORTEST_WAIT_MS }: CallWait,
): Promise<void> {
  const ended = new AbortController()
  const begun = performance.now()
  const wasGivenUp = Promise.withResolvers<void>()
  givenUp.addEventListener('abort', () => wasGivenUp.resolve(), { signal: ended.signal })
  if (givenUp.aborted) wasGivenUp.resolve()
  const over = wasGivenUp.promise.then(async () => {
    const waitMs = Math.max(shortestWaitMs, dumpMayTakeMs) - (performance.now() - begun)
    if (!(await passes(Math.max(0, waitMs), ended.signal))) return
    throw new NoAnswerError(call.then(() => true, isAnswered))
  })
  try {
    await Promise.race([call, over])
  } finally {
    ended.abort()
  }
}

/**
 * Decides after a call that failed whose a pause of the container is, and waits for what may still come of the dump.
 * Returns when a whole archive lies in staging all the same; else throws what the capture ends with.
 */
export async function endBadly(failure: unknown, ending: BadEnding): Promise<void> {
  const { tools, stagingId, signal } = ending
  const reason: unknown = signal.aborted ? signal.reason : failure
  if (isAnswered(failure)) {
    await watchUntilRunning(failure, ending)
    throw signal.aborted ? reason : await withLeftovers(failure, ending)
  }
  const watch = ending.wasSeenRunning ? openWindow(failure, ending) : undefined
  if (tools.runtime.heedsCancel === false) {
    await waitUnheeded(failure, ending, watch)
    return
  }
  if (watch === undefined) throw reason
  if (!signal.aborted) {
    if ((await look(ending)) !== 'running') ending.holdUntil(watch.settled)
    throw reason
  }
  const { staging, stagedCheck } = tools
  const end = await awaitAbandonedDump({ settled: watch.settled, staging, stagingId, stagedCheck })
  if (end !== 'whole') throw reason
}

/** Where the runtime left the memory of the container behind, the hint says so. */
async function withLeftovers(failure: unknown, { tools, containerId }: BadEnding): Promise<unknown> {
  if (!(failure instanceof RuntimeFailureError)) return failure
  const left = await tools.findLeftoverImages?.(containerId)
  if (left === undefined) return failure
  const { message, code, hint, runtimeMessage, cause } = failure
  return new RuntimeFailureError(message, {
    code,
    hint: [hint, removalHint(left)].filter((part) => part !== undefined).join(' '),
    ...(runtimeMessage !== undefined && { runtimeMessage }),
    cause,
  })
}

/** The dump is over: a container that runs by now is let go, and one that does not is ours until it does. */
async function watchUntilRunning(failure: unknown, ending: BadEnding): Promise<void> {
  const { tools, containerId, dumpMayTakeMs, about, wasSeenRunning } = ending
  const isUntouched = failure instanceof AgentError && NOT_TOUCHED.has(failure.code)
  if (!wasSeenRunning || isUntouched || (await look(ending)) === 'running') return
  const options = { reason: errorText(failure), dumpMayTakeMs, about, isDumpOver: true }
  ending.holdUntil(tools.freezeGuard.watch(containerId, options).settled)
}

/** The dump may go on unseen: for as long as it may take, a pause is its own. */
function openWindow(failure: unknown, { tools, containerId, dumpMayTakeMs, about }: BadEnding): FreezeWatch {
  return tools.freezeGuard.watch(containerId, { reason: errorText(failure), dumpMayTakeMs, about })
}

/** The runtime may go on writing: container and staging are kept for as long as it may. */
async function waitUnheeded(failure: unknown, ending: BadEnding, watch: FreezeWatch | undefined): Promise<void> {
  const { tools, stagingId, dumpMayTakeMs, signal, holdUntil } = ending
  const { staging, freezeGuard, stagedCheck } = tools
  const reason: unknown = signal.aborted ? signal.reason : failure
  if (failure instanceof NoAnswerError) {
    const answered = failure.answered.then((isOver) => isOver || passes(dumpMayTakeMs, freezeGuard.closed))
    staging.hold(stagingId, answered)
    holdUntil(answered)
    throw reason
  }
  const over = passes(dumpMayTakeMs, freezeGuard.closed)
  const wait = awaitUnansweredDump({ over, staging, stagingId, stagedCheck })
  // Also where nobody can tell what was left: the container comes first.
  await wait.catch(() => undefined)
  if (watch !== undefined && (await look(ending)) !== 'running') holdUntil(watch.settled)
  const end = await wait
  if (end === 'stopped') staging.hold(stagingId, Promise.resolve(false))
  if (end === 'whole') holdUntil(over)
  else throw reason
}

async function look({ tools, containerId }: BadEnding): Promise<FreezeState> {
  return await tools.freezeControl.look(containerId).catch((): FreezeState => 'unknown')
}
