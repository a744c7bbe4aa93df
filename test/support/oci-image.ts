import { createHash } from 'node:crypto'

export interface TinyImage {
  /** For example `localhost/busybox:1`. */
  readonly name: string
  readonly entrypoint: readonly string[]
}

export const BUSYBOX_IMAGE = 'localhost/busybox:1'
export const PAUSE_IMAGE = 'localhost/pause:1'

/**
 * An OCI image layout as one tar: images that share one layer with a static busybox and links for its commands.
 * The same input gives the same bytes, so an image's digest can be relied on.
 */
export function ociImageTar(images: readonly TinyImage[], busybox: Uint8Array): Buffer {
  const blobs = new Map<string, Buffer>()
  const addBlob = (mediaType: string, content: Buffer): Descriptor => {
    const digest = sha256(content)
    blobs.set(digest, content)
    return { mediaType, digest: `sha256:${digest}`, size: content.length }
  }

  const layer = layerTar(busybox)
  const layerDescriptor = addBlob(LAYER, layer)
  const manifests = images.map(({ name, entrypoint }) => {
    const config = addBlob(CONFIG, json(imageConfig(entrypoint, layerDescriptor.digest)))
    const manifest = { schemaVersion: 2, mediaType: MANIFEST, config, layers: [layerDescriptor] }
    const annotations = {
      'io.containerd.image.name': name,
      'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
    }
    return { ...addBlob(MANIFEST, json(manifest)), annotations }
  })

  return tar([
    file('oci-layout', json({ imageLayoutVersion: '1.0.0' }), 0o644),
    file('index.json', json({ schemaVersion: 2, manifests }), 0o644),
    ...[...blobs].map(([digest, content]) => file(`blobs/sha256/${digest}`, content, 0o644)),
  ])
}

interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
}

const LAYER = 'application/vnd.oci.image.layer.v1.tar'
const CONFIG = 'application/vnd.oci.image.config.v1+json'
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'

const FOLDERS = ['bin', 'dev', 'etc', 'proc', 'sys', 'tmp', 'var']
const COMMANDS =
  'sh ash cat cp cut date dd echo env expr false find grep head hostname httpd id kill killall ln ls md5sum mkdir mkfifo ' +
  'mount mv nc netstat od printf ps pwd readlink rm rmdir sed seq setsid sha256sum sleep sort stat sync tail tar tee ' +
  'test touch tr true uname usleep vi wc wget yes'

function imageConfig(entrypoint: readonly string[], diffId: string): object {
  return {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Entrypoint: entrypoint, Env: ['PATH=/bin'] },
    rootfs: { type: 'layers', diff_ids: [diffId] },
    history: [],
  }
}

function layerTar(busybox: Uint8Array): Buffer {
  return tar([
    ...FOLDERS.map((path) => ({ path: `${path}/`, type: '5' as const, mode: path === 'tmp' ? 0o1777 : 0o755 })),
    file('bin/busybox', busybox, 0o755),
    ...COMMANDS.split(' ').map((name) => ({
      path: `bin/${name}`,
      type: '2' as const,
      mode: 0o777,
      linkTarget: 'busybox',
    })),
  ])
}

interface TarMember {
  readonly path: string
  readonly type: '0' | '2' | '5'
  readonly mode: number
  readonly linkTarget?: string
  readonly content?: Uint8Array
}

function file(path: string, content: Uint8Array, mode: number): TarMember {
  return { path, type: '0', mode, content }
}

const BLOCK = 512

function tar(members: readonly TarMember[]): Buffer {
  const blocks = members.flatMap((member) => {
    const content = member.content ?? new Uint8Array()
    return [header(member, content.length), content, new Uint8Array(-content.length & (BLOCK - 1))]
  })
  return Buffer.concat([...blocks, new Uint8Array(2 * BLOCK)])
}

/** ustar, with owner and time zero: they would make the digest depend on who built it and when. */
function header(member: TarMember, size: number): Buffer {
  const block = Buffer.alloc(BLOCK)
  if (member.path.length > 100) throw new Error(`Cannot write tar member "${member.path}": its name has over 100 bytes`)
  block.write(member.path, 0, 'latin1')
  block.write(octal(member.mode, 7), 100, 'latin1')
  block.write(octal(0, 7), 108, 'latin1')
  block.write(octal(0, 7), 116, 'latin1')
  block.write(octal(size, 11), 124, 'latin1')
  block.write(octal(0, 11), 136, 'latin1')
  block.fill(' ', 148, 156)
  block.write(member.type, 156, 'latin1')
  block.write(member.linkTarget ?? '', 157, 'latin1')
  block.write('ustar\u000000', 257, 'latin1')
  const checksum = block.reduce((sum, byte) => sum + byte, 0)
  block.write(`${octal(checksum, 6)}\0 `, 148, 'latin1')
  return block
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0')
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}
