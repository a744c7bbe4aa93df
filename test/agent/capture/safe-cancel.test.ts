import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { cancelSafely } from '../../../src/agent/capture/safe-cancel.ts'
import type { FreezeState } from '../../../src/runtime/freeze-control.ts'

/** A container that is in this state until the test says otherwise. */
function scripted(initial: FreezeState | Error) {
  const wanted = new AbortController()
  const container = { state: initial }
  const control = {
    look: async () => {
      if (container.state instanceof Error) throw container.state
      return container.state
    },
    resume: async () => undefined,
  }
  return { wanted, container, signal: cancelSafely({ containerId: 'c1', control, wanted: wanted.signal }) }
}

const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })

describe.concurrent('cancelSafely', () => {
  it('cancels nothing that is wanted', async () => {
    const { signal } = scripted('frozen')
    await sleep(100)
    expect(signal.aborted).toBe(false)
  })

  it('waits until the runtime has paused the container', async () => {
    const { wanted, container, signal } = scripted('running')
    wanted.abort()
    await sleep(200)
    expect(signal.aborted).toBe(false)
    container.state = 'frozen'
    await aborted(signal)
  })

  it.each<{ state: FreezeState | Error }>([
    { state: 'frozen' },
    { state: 'gone' },
    { state: 'unknown' },
    { state: new Error('nobody answers') },
  ])('cancels soon where it is $state', async ({ state }) => {
    const { wanted, signal } = scripted(state)
    const begun = performance.now()
    wanted.abort()
    expect(signal.aborted).toBe(false)
    await aborted(signal)
    expect(performance.now() - begun).toBeLessThan(2_000)
  })

  it('does not wait for ever for a pause that is over already', async () => {
    const { wanted, signal } = scripted('running')
    const begun = performance.now()
    wanted.abort()
    await aborted(signal)
    expect(performance.now() - begun).toBeGreaterThan(2_500)
  })
})
