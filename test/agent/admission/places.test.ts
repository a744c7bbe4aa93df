import * as fc from 'fast-check'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { Admission } from '../../../src/agent/admission/admission.ts'
import type { Place, PlaceTimes } from '../../../src/agent/admission/places.ts'
import { CallerLeftError } from '../../../src/shared/errors.ts'

/** Of a caller who does not leave. */
const PRESENT = new AbortController().signal

describe('places', () => {
  it('are so many, all together and of one user, and those who wait get those that are given back', async () => {
    const places = open({ concurrency: 2, perUser: 1 })
    const ada = await places.enter('ada', PRESENT)
    const second = places.enter('ada', PRESENT)
    const bob = await places.enter('bob', PRESENT)
    const eve = places.enter('eve', PRESENT)
    expect([places.takenCount, places.waitingCount]).toEqual([2, 2])
    bob.leave()
    bob.leave()
    await eve
    expect([places.takenCount, places.waitingCount]).toEqual([2, 1])
    ada.leave()
    await second
    expect([places.takenCount, places.waitingCount]).toEqual([2, 0])
  })

  it('go to the users in turn: who asks a lot waits for themselves', async () => {
    const places = open({ concurrency: 1, perUser: 1 })
    const order: string[] = []
    const first = await places.enter('eve', PRESENT)
    const work = async (user: string) => {
      const place = await places.enter(user, PRESENT)
      order.push(user)
      setImmediate(place.leave)
    }
    const all = ['eve', 'eve', 'eve', 'eve', 'ada', 'ada', 'bob'].map(work)
    first.leave()
    await Promise.all(all)
    expect(order).toEqual(['eve', 'ada', 'bob', 'eve', 'ada', 'eve', 'eve'])
  })

  it('are waited for by eight of one user, and a thousand more are refused at once', async () => {
    const places = open({ concurrency: 2, perUser: 1 })
    const taken = await places.enter('eve', PRESENT)
    const asked = Array.from({ length: 1000 }, () => places.enter('eve', PRESENT))
    expect(places.waitingCount).toBe(8)
    for (const refused of asked.slice(8)) {
      await expect(refused).rejects.toMatchObject({
        code: 'TooManyInspections',
        message: 'Cannot look into an archive now: "eve" has 1 looked into at once already',
        hint: expect.stringContaining('inspection.perUser') as string,
      })
    }
    // Another one comes in beside them, and the next one after a single turn of theirs.
    const ada = await places.enter('ada', PRESENT)
    const bob = places.enter('bob', PRESENT)
    ada.leave()
    taken.leave()
    await bob
    const left = await asked[0]
    expect(left).toBeDefined()
  })

  it('are waited for by 64 in all: of those with most the last one makes room', async () => {
    const places = open({ concurrency: 1, perUser: 1 })
    await places.enter('holder', PRESENT)
    const wait = (user: string) => outcomeOf(places.enter(user, PRESENT))
    const users = Array.from({ length: 8 }, (_, number) => `user-${String(number)}`)
    const outcomes = users.flatMap((user) => Array.from({ length: 8 }, () => wait(user)))
    expect(places.waitingCount).toBe(64)
    const ada = wait('ada')
    expect(await Promise.race([...outcomes, ada])).toBe('TooManyInspections')
    expect(places.waitingCount).toBe(64)
    expect(await isPending(ada)).toBe(true)
    // Who has as many waiting as the others have is refused themselves.
    expect(await wait('user-1')).toBe('TooManyInspections')
  })

  it('are not waited for any longer than ten seconds', async () => {
    const places = open({ concurrency: 1, perUser: 1 }, { maxWaitMs: 100 })
    await places.enter('eve', PRESENT)
    await expect(places.enter('ada', PRESENT)).rejects.toMatchObject({
      code: 'TooManyInspections',
      hint: 'Ask again when one has ended, or have inspection.concurrency raised.',
    })
    expect(places.waitingCount).toBe(0)
  })

  it('are left, and the line too, by a thousand who hang up', async () => {
    const places = open({ concurrency: 2, perUser: 2 })
    for (let round = 0; round < 50; round += 1) {
      const callers = Array.from({ length: 20 }, () => new AbortController())
      const outcomes = callers.map(({ signal }, index) =>
        outcomeOf(places.run(`user-${String(index % 5)}`, signal, () => untilLeft(signal))),
      )
      for (const [index, caller] of callers.entries()) {
        if (index % 3 === 0) await Promise.resolve()
        caller.abort()
      }
      expect(new Set(await Promise.all(outcomes))).toEqual(new Set(['left']))
    }
    expect([places.takenCount, places.waitingCount]).toEqual([0, 0])
    const caller = new AbortController()
    caller.abort()
    expect(await outcomeOf(places.enter('ada', caller.signal))).toBe('left')
    expect(places.takenCount).toBe(0)
  })

  it('are never more than they may be, and none is lost, whatever comes in which order', async () => {
    const steps = fc.array(
      fc.oneof(
        { weight: 3, arbitrary: fc.record({ what: fc.constant('enter'), user: fc.constantFrom('a', 'b', 'c') }) },
        { weight: 2, arbitrary: fc.record({ what: fc.constantFrom('leave', 'hang up'), at: fc.nat() }) },
      ),
      { maxLength: 60 },
    )
    const limits = fc.record({ concurrency: fc.integer({ min: 1, max: 4 }), perUser: fc.integer({ min: 1, max: 3 }) })
    await fc.assert(
      fc.asyncProperty(limits, steps, async (chosen, taken) => {
        const places = open(chosen)
        const held: { user: string; place: Place }[] = []
        const waiting = new Set<{ user: string; caller: AbortController }>()
        for (const step of taken) {
          if ('user' in step) {
            const { user } = step
            const asked = { user, caller: new AbortController() }
            waiting.add(asked)
            const entering = places.enter(user, asked.caller.signal)
            entering
              .then((place) => held.push({ user, place }))
              .catch(() => undefined)
              .finally(() => waiting.delete(asked))
              .catch(() => undefined)
          } else if (step.what === 'leave') {
            held.splice(step.at % Math.max(1, held.length), 1)[0]?.place.leave()
          } else {
            ;[...waiting][step.at % Math.max(1, waiting.size)]?.caller.abort()
          }
          await new Promise((resolve) => setImmediate(resolve))
          expect(held.length).toBeLessThanOrEqual(chosen.concurrency)
          for (const user of ['a', 'b', 'c']) {
            const own = held.filter((each) => each.user === user).length
            expect(own).toBeLessThanOrEqual(chosen.perUser)
            const mayBegin = held.length < chosen.concurrency && own < chosen.perUser
            expect(mayBegin && [...waiting].some((each) => each.user === user)).toBe(false)
          }
          expect(places.takenCount).toBe(held.length)
          expect(places.waitingCount).toBe(waiting.size)
        }
        for (const { caller } of waiting) caller.abort()
        for (const { place } of held) place.leave()
        expect([places.takenCount, places.waitingCount]).toEqual([0, 0])
      }),
      { numRuns: 60 },
    )
  })
})

describe('slow streams', () => {
  const times = { windowMs: 500, lookMs: 25, maxWaitMs: 10_000 }
  /** More in the window than a slow one takes, whenever one looks. */
  const ENOUGH = 64 * 1024

  it('give way to who has no place, once they have been slow for the whole window', async () => {
    const places = open({ concurrency: 2, perUser: 2 }, times)
    const began = performance.now()
    const slow = await begin(places, 'eve')
    const other = await begin(places, 'eve')
    await (
      await waitFor(places, 'ada')
    ).entered
    expect(performance.now() - began).toBeGreaterThanOrEqual(times.windowMs)
    // One is enough.
    expect([slow.isCut(), other.isCut()].filter(Boolean)).toHaveLength(1)
  })

  it('are left alone while nobody waits, or somebody who has a place', async () => {
    const places = open({ concurrency: 2, perUser: 1 }, times)
    const eve = await begin(places, 'eve')
    const ada = await begin(places, 'ada')
    await waitFor(places, 'ada')
    await sleep(2 * times.windowMs)
    expect([eve.isCut(), ada.isCut()]).toEqual([false, false])
  })

  it('are of the user who has most, and the fast ones are none', async () => {
    const places = open({ concurrency: 4, perUser: 3 }, times)
    const one = await begin(places, 'ada')
    const [fast, slowest, slow] = [await begin(places, 'eve'), await begin(places, 'eve'), await begin(places, 'eve')]
    const flowing = setInterval(() => {
      fast.taken(ENOUGH)
      slow.taken(100)
    }, 20)
    await (
      await waitFor(places, 'bob')
    ).entered
    clearInterval(flowing)
    expect([one, fast, slowest, slow].map(({ isCut }) => isCut())).toEqual([false, false, true, false])
  })

  it('are not cut where all are fast: who waits is told so', async () => {
    const places = open({ concurrency: 1, perUser: 1 }, { ...times, maxWaitMs: 1200 })
    const fast = await begin(places, 'eve')
    const flowing = setInterval(() => fast.taken(ENOUGH), 20)
    const { entered } = await waitFor(places, 'ada')
    await expect(entered).rejects.toMatchObject({ code: 'TooManyInspections' })
    clearInterval(flowing)
    expect(fast.isCut()).toBe(false)
  })
})

async function begin(places: Admission['inspections'], user: string) {
  const place = await places.enter(user, PRESENT)
  let isCut = false
  const { taken } = place.stream(() => {
    isCut = true
    place.leave()
  })
  return { taken, isCut: () => isCut }
}

async function waitFor(places: Admission['inspections'], user: string) {
  const entered = places.enter(user, PRESENT)
  entered.catch(() => undefined)
  return { entered }
}

function open(limits: { concurrency: number; perUser: number }, times: Partial<PlaceTimes> = {}) {
  return new Admission({ content: limits, inspection: limits, times }).inspections
}

async function outcomeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'done'
  } catch (error) {
    return error instanceof CallerLeftError ? 'left' : String((error as { code?: unknown }).code)
  }
}

async function isPending(work: Promise<unknown>): Promise<boolean> {
  const nothing = Symbol('nothing')
  return (await Promise.race([work, new Promise((resolve) => setImmediate(() => resolve(nothing)))])) === nothing
}

function untilLeft(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(new CallerLeftError())
    signal.addEventListener('abort', () => reject(new CallerLeftError()))
  })
}
