import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'

/** What each of the page's attempts came to: what it could read, or how it failed. */
export type Attempts = Readonly<Record<string, string>>

/** A web page on a port of its own. */
export interface AttackingPage {
  /** Where it attacks the agent of this origin, which has an archive of this id. */
  url(agent: string, id: string): string
  /** Resolves when the page has tried everything and says what came of it. */
  readonly report: Promise<Attempts>
  stop(): void
}

export async function serveAttackingPage(): Promise<AttackingPage> {
  const html = readFileSync(join(import.meta.dirname, 'attacking-page.html'))
  const report = Promise.withResolvers<Attempts>()
  const server = createServer((req, res) => {
    if (req.method === 'POST') report.resolve(json(req) as Promise<Attempts>)
    res.setHeader('content-type', 'text/html').end(html)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: (agent, id) => `http://127.0.0.1:${String(port)}/?${new URLSearchParams({ agent, id }).toString()}`,
    report: report.promise,
    stop: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}
