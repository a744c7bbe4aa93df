import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { ApiServerError } from '../../src/access/api-server-error.ts'
import type { ApiServer } from '../../src/access/api-server-client.ts'
import { cluster, SCRIPT } from './cluster-harness.ts'

/** The real API server, asked by the agent's own client from where it can be reached: in the network of node a. */
export interface RemoteApiServer extends ApiServer {
  stop(): void
}

interface Reply {
  readonly id: number
  readonly value?: unknown
  readonly error?: { readonly message: string; readonly status?: number }
}

export async function askApiServer(name: string, token: string): Promise<RemoteApiServer> {
  const folder = await cluster.folder()
  writeFileSync(`${folder}/${name}`, token, { mode: 0o600 })
  const url = await cluster.kubectl(['config', 'view', '--minify', '-o', 'jsonpath={.clusters[0].cluster.server}'])
  const relay = `${import.meta.dirname}/api-server-relay.ts`
  const words = [process.execPath, relay, url.trim(), `${folder}/${name}`, `${folder}/keys/ca.crt`]
  const child = spawn(SCRIPT, ['run', ...words], { stdio: ['pipe', 'pipe', 'inherit'] })
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  const { stdin } = child
  createInterface(child.stdout).on('line', (line) => {
    const { id, value, error } = JSON.parse(line) as Reply
    const asker = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) asker?.resolve(value)
    else asker?.reject(new ApiServerError(error.message, error.status === undefined ? {} : { status: error.status }))
  })
  child.once('exit', (code) => {
    for (const { reject } of waiting.values()) reject(new Error(`the relay ended with ${String(code)}`))
  })
  let last = 0
  return {
    send: (method, path, body) => {
      const id = ++last
      const answer = new Promise((resolve, reject) => waiting.set(id, { resolve, reject }))
      stdin.write(`${JSON.stringify({ id, method, path, body })}\n`)
      return answer
    },
    stop: () => stdin.end(),
  }
}
