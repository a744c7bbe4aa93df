import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { CheckpointResponse } from '../../src/api/checkpoint-schemas.ts'
import type { AgentInNode } from './agent-in-node.ts'

export interface WatchedEvent {
  /** When it came, as `performance.now()` tells it. */
  readonly at: number
  readonly type: string
  readonly data: Partial<Omit<CheckpointResponse, 'state'>> & { readonly state?: string }
}

/** One reader of `GET /v1/watch`. */
export interface Watch {
  events(): readonly WatchedEvent[]
  /** Why there are no more of them, where the agent ended the stream. */
  problem(): string | undefined
  stop(): void
}

/** Nothing that happens after it resolves is missed. */
export async function watchAgent({ socketPath }: AgentInNode): Promise<Watch> {
  const events: WatchedEvent[] = []
  let problem: string | undefined
  const answer = await openStream(socketPath)
  let unread = ''
  answer.setEncoding('utf8')
  answer.on('data', (chunk: string) => {
    const at = performance.now()
    const blocks = (unread + chunk).split('\n\n')
    unread = blocks.pop() ?? ''
    for (const block of blocks) if (block !== ':') events.push({ at, ...readEvent(block) })
  })
  answer.on('error', (error) => {
    problem = String(error)
  })
  answer.on('end', () => {
    problem = 'the agent ended it'
  })
  return { events: () => events, problem: () => problem, stop: () => answer.destroy() }
}

function openStream(socketPath: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path: '/v1/watch', agent: false }, (answer) => {
      if (answer.statusCode === 200) resolve(answer)
      else reject(new Error(`Cannot watch the agent: status ${answer.statusCode}`))
    })
    sent.on('error', reject)
    sent.end()
  })
}

function readEvent(block: string): Omit<WatchedEvent, 'at'> {
  const [, type, data] = /^id: .*\nevent: (.*)\ndata: (.*)$/.exec(block) ?? []
  if (type === undefined || data === undefined) throw new Error(`Cannot read the event "${block}"`)
  return { type, data: JSON.parse(data) as WatchedEvent['data'] }
}
