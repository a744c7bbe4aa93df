import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CaptureQueue, type QueuedWork } from '../../../src/agent/capture/capture-queue.ts'
import { UnavailableError } from '../../../src/shared/errors.ts'

const numRuns = process.env['SLOW'] === '1' ? 3_000 : 150

/** Works of the queue under control: each runs until it is told to end. */
class Bench {
  readonly queue: CaptureQueue
  readonly started: string[] = []
  readonly #ends = new Map<string, () => void>()

  constructor(concurrency: number, limit: number) {
    this.queue = new CaptureQueue({ concurrency, limit })
  }

  get running(): readonly string[] {
    return [...this.#ends.keys()]
  }

  work(jobId: string, containerIds: readonly string[]): QueuedWork {
    return {
      jobId,
      containerIds,
      run: async () => {
        this.started.push(jobId)
        const { promise, resolve } = Promise.withResolvers<void>()
        this.#ends.set(jobId, resolve)
        await promise
      },
    }
  }

  add(jobId: string, ...containerIds: string[]): void {
    this.queue.enqueue(this.work(jobId, containerIds))
  }

  async end(jobId: string): Promise<void> {
    this.#ends.get(jobId)?.()
    this.#ends.delete(jobId)
    await settle()
  }
}

/** Lets what is settled take effect. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await Promise.resolve()
}

describe('CaptureQueue', () => {
  it('takes one after the other, in the order in which they came', async () => {
    const bench = new Bench(1, 10)
    for (const job of ['1', '2', '3']) bench.add(job, job)
    expect(bench.running).toEqual(['1'])
    expect(bench.queue.counts).toEqual({ running: 1, queued: 2, queueLimit: 10 })
    await bench.end('1')
    expect(bench.running).toEqual(['2'])
    await bench.end('2')
    await bench.end('3')
    expect(bench.queue.counts).toEqual({ running: 0, queued: 0, queueLimit: 10 })
  })

  it('lets one of another container pass one that waits for its own', async () => {
    const bench = new Bench(2, 10)
    bench.add('1', 'a')
    bench.add('2', 'a')
    bench.add('3', 'b')
    expect(bench.running).toEqual(['1', '3'])
    await bench.end('1')
    expect(bench.running).toEqual(['3', '2'])
  })

  it('lets nobody pass a pod that waits for the same container', async () => {
    const bench = new Bench(3, 10)
    bench.add('1', 'a')
    bench.add('pod', 'a', 'b')
    bench.add('2', 'b')
    bench.add('3', 'c')
    expect(bench.running).toEqual(['1', '3'])
    await bench.end('1')
    expect(bench.running).toEqual(['3', 'pod'])
    await bench.end('pod')
    expect(bench.running).toEqual(['3', '2'])
  })

  it('refuses what would have to wait when enough wait already, and nothing else', async () => {
    const bench = new Bench(2, 1)
    bench.add('1', 'a')
    bench.add('2', 'a')
    expect(failureOf(() => bench.add('3', 'a'))).toMatchObject({ code: 'QueueFull' })
    bench.add('4', 'b')
    expect(bench.running).toEqual(['1', '4'])
    const error = failureOf(() => bench.add('5', 'c'))
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error).toMatchObject({
      code: 'QueueFull',
      message: 'Cannot queue the checkpoint: 1 are waiting on this node',
    })
    await bench.end('4')
    // It could not begin either: the one that waits is of its container.
    expect(failureOf(() => bench.add('6', 'a'))).toMatchObject({ code: 'QueueFull' })
    bench.add('7', 'c')
    expect(bench.queue.counts.queued).toBe(1)
  })

  it('takes out what still waits, and only that', async () => {
    const bench = new Bench(1, 10)
    bench.add('1', 'a')
    bench.add('2', 'b')
    expect(bench.queue.remove('1')).toBe(false)
    expect(bench.queue.remove('2')).toBe(true)
    expect(bench.queue.remove('2')).toBe(false)
    expect(bench.queue.remove('never')).toBe(false)
    await bench.end('1')
    expect(bench.started).toEqual(['1'])
  })

  it('lets those behind one that is taken out move up', () => {
    const bench = new Bench(2, 10)
    bench.queue.hold('a', '0', new Promise(() => undefined))
    bench.add('pod', 'a', 'b')
    bench.add('1', 'b')
    expect(bench.running).toEqual([])
    bench.queue.remove('pod')
    expect(bench.running).toEqual(['1'])
  })

  it('knows the job of a container, whether it runs, waits or is held', async () => {
    const bench = new Bench(1, 10)
    expect(bench.queue.findJob('a')).toBeUndefined()
    bench.add('1', 'a')
    bench.add('2', 'a', 'b')
    expect(bench.queue.findJob('a')).toBe('1')
    expect(bench.queue.findJob('b')).toBe('2')
    const hold = Promise.withResolvers<void>()
    bench.queue.hold('c', '0', hold.promise)
    expect(bench.queue.findJob('c')).toBe('0')
    hold.resolve()
    await settle()
    expect(bench.queue.findJob('c')).toBeUndefined()
  })

  it.each([
    { name: 'ends', end: (hold: PromiseWithResolvers<void>) => hold.resolve() },
    { name: 'fails', end: (hold: PromiseWithResolvers<void>) => hold.reject(new Error('no matter')) },
  ])('keeps others off a held container until the hold $name', async ({ end }) => {
    const bench = new Bench(2, 10)
    bench.add('1', 'a')
    const hold = Promise.withResolvers<void>()
    bench.queue.hold('a', '1', hold.promise)
    bench.add('2', 'a')
    await bench.end('1')
    expect(bench.running).toEqual([])
    expect(bench.queue.findJob('a')).toBe('1')
    end(hold)
    await settle()
    expect(bench.running).toEqual(['2'])
  })

  it('begins nothing after close, and gives back what was waiting', async () => {
    const bench = new Bench(1, 10)
    bench.add('1', 'a')
    bench.add('2', 'b')
    bench.add('3', 'c')
    expect(bench.queue.close().map(({ jobId }) => jobId)).toEqual(['2', '3'])
    expect(failureOf(() => bench.add('4', 'd'))).toMatchObject({ code: 'ShuttingDown' })
    await bench.end('1')
    expect(bench.started).toEqual(['1'])
    expect(bench.queue.close()).toEqual([])
  })
})

type Step =
  | { readonly do: 'add'; readonly containers: readonly string[] }
  | { readonly do: 'end' | 'remove' | 'release'; readonly which: number }
  | { readonly do: 'hold'; readonly container: string }

const container = fc.constantFrom('a', 'b', 'c', 'd')
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('add' as const),
      containers: fc.uniqueArray(container, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('end' as const), which: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remove' as const), which: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('hold' as const), container }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('release' as const), which: fc.nat(9) }) },
)

/** The rules in their simplest form: a list of those who wait, looked through from the front. */
class Model {
  waiting: { readonly id: string; readonly containers: readonly string[] }[] = []
  running: { readonly id: string; readonly containers: readonly string[] }[] = []
  held: string[] = []
  readonly started: string[] = []
  readonly #concurrency: number
  readonly #limit: number

  constructor(concurrency: number, limit: number) {
    this.#concurrency = concurrency
    this.#limit = limit
  }

  /** False when it is refused. */
  add(id: string, containers: readonly string[]): boolean {
    const before = this.waiting.length
    this.waiting.push({ id, containers })
    this.advance()
    if (this.waiting.length <= Math.max(before, this.#limit) || !this.waiting.some((each) => each.id === id))
      return true
    this.waiting = this.waiting.filter((each) => each.id !== id)
    return false
  }

  advance(): void {
    const busy = () => [...this.running.flatMap(({ containers }) => containers), ...this.held]
    const passed: string[] = []
    for (const each of this.waiting.slice()) {
      const isFree = each.containers.every((id) => !busy().includes(id) && !passed.includes(id))
      if (isFree && this.running.length < this.#concurrency) {
        this.waiting = this.waiting.filter((other) => other !== each)
        this.running.push(each)
        this.started.push(each.id)
      } else {
        passed.push(...each.containers)
      }
    }
  }
}

describe('CaptureQueue, against a model', () => {
  it('never has two of one container nor more than may run, and starts what the rules say, in their order', async () => {
    const setting = fc.record({ concurrency: fc.integer({ min: 1, max: 3 }), limit: fc.integer({ min: 1, max: 4 }) })
    await fc.assert(
      fc.asyncProperty(setting, fc.array(step, { maxLength: 40 }), async ({ concurrency, limit }, steps) => {
        const bench = new Bench(concurrency, limit)
        const model = new Model(concurrency, limit)
        const refusals: unknown[] = []
        const holds: { readonly container: string; readonly release: () => void }[] = []
        for (const [index, each] of steps.entries()) {
          const id = `job-${index}`
          switch (each.do) {
            case 'add': {
              const isTaken = model.add(id, each.containers)
              const add = () => bench.add(id, ...each.containers)
              if (isTaken) add()
              else refusals.push(failureOf(add))
              break
            }
            case 'end': {
              const ended = model.running[each.which % Math.max(1, model.running.length)]
              if (ended === undefined) break
              model.running = model.running.filter((other) => other !== ended)
              model.advance()
              await bench.end(ended.id)
              break
            }
            case 'remove': {
              const removed = model.waiting[each.which % Math.max(1, model.waiting.length)]
              if (removed === undefined) break
              model.waiting = model.waiting.filter((other) => other !== removed)
              model.advance()
              if (!bench.queue.remove(removed.id)) throw new Error(`${removed.id} was not waiting`)
              break
            }
            case 'hold': {
              const hold = Promise.withResolvers<void>()
              bench.queue.hold(each.container, id, hold.promise)
              model.held.push(each.container)
              holds.push({ container: each.container, release: hold.resolve })
              break
            }
            case 'release': {
              const [hold] = holds.splice(each.which % Math.max(1, holds.length), 1)
              if (hold === undefined) break
              model.held.splice(model.held.indexOf(hold.container), 1)
              model.advance()
              hold.release()
              await settle()
              break
            }
          }
          expect(refusals).toEqual(refusals.map(() => expect.objectContaining({ code: 'QueueFull' })))
          expect(bench.started).toEqual(model.started)
          expect(bench.running.toSorted()).toEqual(model.running.map((running) => running.id).toSorted())
          expect(bench.queue.counts).toEqual({
            running: model.running.length,
            queued: model.waiting.length,
            queueLimit: limit,
          })
          expect(model.running.length).toBeLessThanOrEqual(concurrency)
          const busy = model.running.flatMap(({ containers }) => containers)
          expect(new Set(busy).size).toBe(busy.length)
        }
      }),
      { numRuns },
    )
  })
})

function failureOf(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('it did not fail')
}
