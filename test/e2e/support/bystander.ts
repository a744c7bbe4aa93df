import { setTimeout as sleep } from 'node:timers/promises'
import type { CaptureResult } from '../../../src/api/capture-schemas.ts'
import type { AttackClient } from './attack-client.ts'

export const OPERATIONS = ['list', 'capture', 'download', 'delete'] as const

export type Operation = (typeof OPERATIONS)[number]

/** How one kind of request went while somebody else attacked. */
export interface OperationFigures {
  succeeded: number
  slowestMs: number
  /** `status code` of each that did not succeed. */
  readonly failed: string[]
}

const PAUSE_MS = 100

/** How long a conflict may last that ends by itself. */
const CONFLICT_MS = 10_000

/** A user that goes about its work: lists, captures, downloads what it captured, deletes it. */
export class Bystander {
  readonly #client: AttackClient
  readonly #pod: string
  readonly figures: Readonly<Record<Operation, OperationFigures>> = {
    list: { succeeded: 0, slowestMs: 0, failed: [] },
    capture: { succeeded: 0, slowestMs: 0, failed: [] },
    download: { succeeded: 0, slowestMs: 0, failed: [] },
    delete: { succeeded: 0, slowestMs: 0, failed: [] },
  }

  constructor(client: AttackClient, pod: string) {
    this.#client = client
    this.#pod = pod
  }

  failures(): readonly string[] {
    return OPERATIONS.flatMap((operation) => this.figures[operation].failed.map((failed) => `${operation}: ${failed}`))
  }

  /** Works until it is told to stop; what was begun then ends first. At least one round is made. */
  async work(stop: AbortSignal): Promise<void> {
    do {
      await this.#do('list', 'GET', '/v1/checkpoints?namespace=shop&limit=50', 200)
      const body = { namespace: 'shop', pod: this.#pod, container: 'counter' }
      const captured = await this.#do('capture', 'POST', '/v1/captures?wait=true', 201, body)
      const id = captured && (JSON.parse(captured.toString()) as CaptureResult).items[0]?.id
      if (id !== undefined) {
        await this.#do('download', 'GET', `/v1/checkpoints/${id}/archive`, 200)
        await this.#do('delete', 'DELETE', `/v1/checkpoints/${id}`, 204)
      }
      await sleep(PAUSE_MS)
    } while (!stop.aborted)
  }

  async #do(
    operation: Operation,
    method: string,
    path: string,
    expected: number,
    body?: unknown,
  ): Promise<Buffer | undefined> {
    const began = performance.now()
    const send = () => this.#client.send(method, path, { ...(body !== undefined && { body }) })
    let answer = await send()
    // The agent may not have seen yet that a download has ended, or still read the archive for its digest.
    while (answer.status === 409 && performance.now() - began < CONFLICT_MS) {
      await sleep(PAUSE_MS)
      answer = await send()
    }
    const millis = Math.round(performance.now() - began)
    const figures = this.figures[operation]
    figures.slowestMs = Math.max(figures.slowestMs, millis)
    if (answer.status !== expected) {
      figures.failed.push(`${String(answer.status)} ${/"code":"(\w+)"/.exec(answer.body.toString())?.[1] ?? ''}`)
      return undefined
    }
    figures.succeeded += 1
    return answer.body
  }
}
