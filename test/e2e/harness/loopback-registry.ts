import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { BUSYBOX_IMAGE, ociImageTar } from '../../support/oci-image.ts'
import type { RuntimeNode } from './runtime-node.ts'

// containerd restores into an image that it can pull by its digest. This is as much of a registry as a pull needs, on the
// loopback address of the node.

const PORT = 5000

export interface LoopbackRegistry {
  /** The same as `localhost/busybox:1`, from here. */
  readonly busybox: string
  stop(): Promise<void>
}

export async function startRegistry(node: RuntimeNode): Promise<LoopbackRegistry> {
  const folder = mkdtempSync(join(node.workDir, 'registry-'))
  const busybox = readFileSync(`/proc/${node.containerdPid}/root/bin/busybox`)
  writeFileSync(join(folder, 'image.tar'), ociImageTar([{ name: BUSYBOX_IMAGE, entrypoint: ['/bin/sh'] }], busybox))
  execFileSync('tar', ['-xf', 'image.tar'], { cwd: folder })
  const inItsNetwork = ['nsenter', '--target', `${node.containerdPid}`, '--net', '--']
  const command = [...inItsNetwork, process.execPath, import.meta.filename, folder]
  const server = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(server, 'exit')
  await Promise.race([once(server.stdout, 'data'), ended])
  if (server.exitCode !== null) throw new Error('Cannot start the registry: see what it said on standard error')
  return {
    busybox: `localhost:${PORT}/busybox:1`,
    async stop() {
      server.kill('SIGKILL')
      await ended
    },
  }
}

/** By digest, and the one manifest by its tag too. */
function serve(folder: string): void {
  const blobs = join(folder, 'blobs/sha256')
  const names = new Set(readdirSync(blobs))
  const index = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as {
    manifests: readonly { digest: string; mediaType: string }[]
  }
  const [manifest] = index.manifests
  const server = createServer((request, answer) => {
    const asked = request.url?.split('/').at(-1) ?? ''
    const digest = (asked === '1' ? (manifest?.digest ?? '') : asked).replace('sha256:', '')
    if (request.url === '/v2/') {
      answer.end()
      return
    }
    if (!names.has(digest)) {
      answer.writeHead(404).end()
      return
    }
    const bytes = readFileSync(join(blobs, digest))
    const type = `sha256:${digest}` === manifest?.digest ? manifest.mediaType : 'application/octet-stream'
    answer.writeHead(200, {
      'Content-Type': type,
      'Content-Length': bytes.length,
      'Docker-Content-Digest': `sha256:${createHash('sha256').update(bytes).digest('hex')}`,
    })
    answer.end(request.method === 'HEAD' ? undefined : bytes)
  })
  server.listen(PORT, '127.0.0.1', () => process.stdout.write('ready\n'))
}

if (import.meta.main) serve(process.argv[2] ?? '')
