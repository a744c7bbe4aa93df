import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { assertNotPaused } from '../../../src/agent/capture/freeze-look.ts'
import type { FreezeState } from '../../../src/runtime/freeze-control.ts'

const TIMING = { lookForMs: 200, lookEveryMs: 10 }

/** What one look after the other says; the last one again and again. */
function look(states: readonly (FreezeState | Error)[], { isBlind = false, takesMs = 0 } = {}) {
  let looks = 0
  const control = {
    look: async () => {
      const state = states[Math.min(looks, states.length - 1)] ?? 'unknown'
      looks += 1
      await sleep(takesMs)
      if (state instanceof Error) throw state
      return state
    },
    isBlind: async () => isBlind,
    resume: async () => undefined,
  }
  return { answer: assertNotPaused('c1', control, TIMING), looks: () => looks }
}

describe.concurrent('the look before a capture', () => {
  it.each<{ name: string; states: readonly (FreezeState | Error)[]; isBlind?: boolean; wasPaused: false | undefined }>([
    { name: 'a container that runs', states: ['running'], wasPaused: false },
    { name: 'one that is gone, which the runtime will say itself', states: ['gone'], wasPaused: undefined },
    { name: 'one that nobody on this node can see', states: ['unknown'], isBlind: true, wasPaused: undefined },
    { name: 'one that is seen to run in time', states: ['unknown', new Error('busy'), 'running'], wasPaused: false },
  ])('lets $name pass', async ({ states, isBlind = false, wasPaused }) => {
    expect(await look(states, { isBlind }).answer).toBe(wasPaused)
  })

  it.each<{ name: string; states: readonly (FreezeState | Error)[]; code: string }>([
    { name: 'a paused container', states: ['frozen'], code: 'ContainerPaused' },
    { name: 'one that turns out to be paused', states: ['unknown', 'frozen'], code: 'ContainerPaused' },
    { name: 'one of which nobody can tell', states: ['unknown'], code: 'FreezeUnknown' },
    { name: 'one whose runtime does not answer', states: [new Error('nobody answers')], code: 'FreezeUnknown' },
  ])('refuses $name', async ({ states, code }) => {
    await expect(look(states).answer).rejects.toMatchObject({ code })
  })

  it('does not refuse because the agent was too busy to hear the answer in time', async () => {
    expect(await look(['running'], { takesMs: 400 }).answer).toBe(false)
    const late = look(['unknown', 'running'], { takesMs: 250 })
    expect(await late.answer).toBe(false)
    expect(late.looks()).toBe(2)
  })
})
