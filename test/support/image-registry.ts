import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

/** A registry on loopback that accepts pushes, over plain HTTP. */
export interface ImageRegistry {
  readonly address: string
  /** The names that manifests were pushed to: `<repository>:<tag>`. */
  pushed(): readonly string[]
  close(): Promise<void>
}

/** As much of the OCI distribution protocol as a push needs. */
export async function startImageRegistry(): Promise<ImageRegistry> {
  const blobs = new Set<string>()
  const uploads = new Map<string, Buffer>()
  const manifests = new Map<string, { readonly type: string; readonly bytes: Buffer }>()

  const answerUpload = async (request: IncomingMessage, answer: ServerResponse, url: URL): Promise<void> => {
    const id = url.pathname.split('/').at(-1) ?? ''
    const bytes = Buffer.concat([uploads.get(id) ?? Buffer.alloc(0), await buffer(request)])
    uploads.set(id, bytes)
    const digest = url.searchParams.get('digest')
    if (digest === null) {
      answer.writeHead(202, { location: url.pathname, range: `0-${Math.max(bytes.length - 1, 0)}` }).end()
    } else if (digest === digestOf(bytes)) {
      blobs.add(digest)
      answer.writeHead(201, { location: `/blobs/${digest}`, 'docker-content-digest': digest }).end()
    } else {
      answer.writeHead(400).end()
    }
  }

  const respond = async (request: IncomingMessage, answer: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://localhost')
    const [, repository = '', kind = '', reference = ''] =
      /^\/v2\/(.+)\/(blobs|manifests)\/(.+)$/.exec(url.pathname) ?? []
    if (url.pathname === '/v2/') {
      answer.writeHead(200).end()
    } else if (request.method === 'POST' && reference === 'uploads/') {
      answer.writeHead(202, { location: `/v2/${repository}/blobs/uploads/${randomUUID()}` }).end()
    } else if (reference.startsWith('uploads/')) {
      await answerUpload(request, answer, url)
    } else if (kind === 'blobs') {
      answer.writeHead(blobs.has(reference) ? 200 : 404).end()
    } else if (kind === 'manifests' && request.method === 'PUT') {
      const bytes = await buffer(request)
      const digest = digestOf(bytes)
      const manifest = { type: request.headers['content-type'] ?? '', bytes }
      for (const name of [reference, digest]) manifests.set(`${repository}:${name}`, manifest)
      answer.writeHead(201, { location: url.pathname, 'docker-content-digest': digest }).end()
    } else if (kind === 'manifests') {
      const manifest = manifests.get(`${repository}:${reference}`)
      if (manifest === undefined) answer.writeHead(404).end()
      else answerManifest(answer, manifest, { isHead: request.method === 'HEAD' })
    } else {
      answer.writeHead(404).end()
    }
  }

  const server = createServer((request, answer) => {
    respond(request, answer).catch(() => answer.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    pushed: () => [...manifests.keys()].filter((name) => !name.includes(':sha256:')),
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function answerManifest(
  answer: ServerResponse,
  { type, bytes }: { readonly type: string; readonly bytes: Buffer },
  { isHead }: { readonly isHead: boolean },
): void {
  answer.writeHead(200, {
    'content-type': type,
    'content-length': bytes.length,
    'docker-content-digest': digestOf(bytes),
  })
  answer.end(isHead ? undefined : bytes)
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}
