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
  /** Finds memory images of a container whose export by the runtime has just failed. */
  readonly findLeftoverImages?: (containerId: string) => Promise<LeftoverImages | undefined>
}

export interface BadEnding {
  readonly tools: EndingTools
  readonly containerId: string
  /** Fields recorded if the container has to be resumed. */
  readonly about: Readonly<Record<string, unknown>>
  readonly dumpMayTakeMs: number
  /** True if the container was seen to run before the call. Only then can the call have paused it. */
  readonly wasSeenRunning: boolean
  readonly stagingId: string
  /** Aborts when the capture is cancelled, times out or is shut down. */
  readonly signal: AbortSignal
  readonly holdUntil: (settled: Promise<unknown>) => void
}

/** Failures by which the runtime reports that it has not touched the container. */
const NOT_TOUCHED: ReadonlySet<string> = new Set(['ContainerPaused', 'ContainerNotRunning', 'ContainerNotFound'])

/** Minimum wait for a dump that was given up. */
const SHORTEST_WAIT_MS = 30_000

/** Reports that the call is still under way although a dump of this size cannot be. */
class NoAnswerError extends Error {
  /** Resolves with true if the runtime still answers. */
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
 * Waits for a call that cannot be cancelled. After it is given up, waits only until a dump of this size can no longer
 * be running.
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
 * Handles a failed call: decides whether the capture caused a pause of the container, and waits for the rest of the
 * dump. Returns if a whole archive is in staging nevertheless. Otherwise throws the error that the capture ends with.
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

/** Extends the hint if the runtime left memory images of the container behind. */
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

/** Handles a dump that is over. A container that runs again is released. Any other is watched until it runs. */
async function watchUntilRunning(failure: unknown, ending: BadEnding): Promise<void> {
  const { tools, containerId, dumpMayTakeMs, about, wasSeenRunning } = ending
  const isUntouched = failure instanceof AgentError && NOT_TOUCHED.has(failure.code)
  if (!wasSeenRunning || isUntouched || (await look(ending)) === 'running') return
  const options = { reason: errorText(failure), dumpMayTakeMs, about, isDumpOver: true }
  ending.holdUntil(tools.freezeGuard.watch(containerId, options).settled)
}

/** Opens a freeze watch for a dump that may go on unseen. During its possible duration, a pause is attributed to it. */
function openWindow(failure: unknown, { tools, containerId, dumpMayTakeMs, about }: BadEnding): FreezeWatch {
  return tools.freezeGuard.watch(containerId, { reason: errorText(failure), dumpMayTakeMs, about })
}

/** Holds the container and its staging for as long as the runtime may go on writing. */
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
  // A failed check is ignored here: the container is handled first.
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
