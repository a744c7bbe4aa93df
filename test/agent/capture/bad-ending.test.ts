import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { answerInTime } from '../../../src/agent/capture/bad-ending.ts'

/** A call that never heeds anybody, and what has become of the wait for it. */
function wait({ dumpMayTakeMs, shortestWaitMs }: { readonly dumpMayTakeMs: number; readonly shortestWaitMs: number }) {
  const givenUp = new AbortController()
  const call = Promise.withResolvers<void>()
  const begun = performance.now()
  const waiting: { state: unknown } = { state: 'waiting' }
  const ended = answerInTime(call.promise, { givenUp: givenUp.signal, dumpMayTakeMs, shortestWaitMs })
    .catch((error: unknown) => error)
    .then((end) => {
      waiting.state = end instanceof Error ? end.message : 'answered'
      return performance.now() - begun
    })
  return { givenUp, call, waiting, ended }
}

const NO_ANSWER = 'the runtime has not answered for longer than a dump of this size may take'

describe.concurrent('the wait for a runtime that heeds no cancel', () => {
  it('has no end while the capture is wanted', async () => {
    const { call, waiting, ended } = wait({ dumpMayTakeMs: 10, shortestWaitMs: 10 })
    await sleep(200)
    expect(waiting.state).toBe('waiting')
    call.resolve()
    await ended
    expect(waiting.state).toBe('answered')
  })

  it.each([
    { name: 'for a while at least', dumpMayTakeMs: 10, shortestWaitMs: 300 },
    { name: 'for as long as a dump of that size may take', dumpMayTakeMs: 300, shortestWaitMs: 10 },
  ])('goes on when it was given up, $name, and then no longer', async (times) => {
    const { givenUp, waiting, ended } = wait(times)
    givenUp.abort()
    expect(await ended).toBeGreaterThanOrEqual(295)
    expect(waiting.state).toBe(NO_ANSWER)
  })

  it('tells what is kept for the runtime when it has answered at last', async () => {
    const givenUp = AbortSignal.abort()
    const call = Promise.withResolvers<void>()
    const error: unknown = await answerInTime(call.promise, { givenUp, dumpMayTakeMs: 10, shortestWaitMs: 10 }).catch(
      (thrown: unknown) => thrown,
    )
    expect(error).toMatchObject({ message: NO_ANSWER })
    const { answered } = error as { readonly answered: Promise<boolean> }
    expect(await Promise.race([answered, sleep(50, 'not yet')])).toBe('not yet')
    call.resolve()
    expect(await answered).toBe(true)
  })

  it('ends with the answer, whether that is good or bad', async () => {
    const good = wait({ dumpMayTakeMs: 5_000, shortestWaitMs: 10 })
    good.givenUp.abort()
    good.call.resolve()
    await good.ended
    expect(good.waiting.state).toBe('answered')
    const bad = wait({ dumpMayTakeMs: 5_000, shortestWaitMs: 10 })
    bad.givenUp.abort()
    bad.call.reject(new Error('the dump failed'))
    await bad.ended
    expect(bad.waiting.state).toBe('the dump failed')
  })
})
