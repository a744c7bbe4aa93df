import { createHash } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ociImageTar } from './oci-image.ts'

const BUSYBOX = Buffer.from('#!not a busybox, but bytes that must arrive whole\n'.repeat(40))
const IMAGES = [
  { name: 'localhost/pause:1', entrypoint: ['/bin/sleep', '1000'] },
  { name: 'localhost/busybox:2', entrypoint: ['/bin/sh'] },
]

interface Descriptor {
  readonly digest: string
  readonly size: number
}
interface Manifest {
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
}
interface ImageConfig {
  readonly config: { readonly Entrypoint: readonly string[] }
  readonly rootfs: { readonly diff_ids: readonly string[] }
}

let folder: string
let index: { readonly manifests: readonly (Descriptor & { readonly annotations: Record<string, string> })[] }

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'oci-image-'))
  unpack(ociImageTar(IMAGES, BUSYBOX), folder)
  index = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as typeof index
})
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

describe('ociImageTar', () => {
  it('gives the same bytes for the same input', () => {
    expect(ociImageTar(IMAGES, BUSYBOX).equals(ociImageTar(IMAGES, BUSYBOX))).toBe(true)
  })

  it('names every blob after its digest', () => {
    const blobs = readdirSync(join(folder, 'blobs/sha256'))
    // one shared layer, and a config and a manifest for each image
    expect(blobs).toHaveLength(5)
    for (const name of blobs) expect(sha256(readFileSync(join(folder, 'blobs/sha256', name)))).toBe(name)
  })

  it('lists each image under its full name', () => {
    expect(index.manifests.map((entry) => entry.annotations)).toEqual([
      { 'io.containerd.image.name': 'localhost/pause:1', 'org.opencontainers.image.ref.name': '1' },
      { 'io.containerd.image.name': 'localhost/busybox:2', 'org.opencontainers.image.ref.name': '2' },
    ])
  })

  it('leads from the index to the entrypoint and the layer, with true sizes', () => {
    const configs = index.manifests.map((entry) => {
      const manifest = readBlob(entry) as Manifest
      const config = readBlob(manifest.config) as ImageConfig
      expect(config.rootfs.diff_ids).toEqual(manifest.layers.map((layer) => layer.digest))
      return config.config.Entrypoint
    })
    expect(configs).toEqual(IMAGES.map((image) => image.entrypoint))
  })

  it('holds a busybox that can be run, and links to it', () => {
    const [entry] = index.manifests
    if (entry === undefined) throw new Error('the index lists no image')
    const [layer] = (readBlob(entry) as Manifest).layers
    if (layer === undefined) throw new Error('the image has no layer')
    const root = join(folder, 'layer')
    unpack(readFileSync(blobPath(layer)), root)
    expect(readFileSync(join(root, 'bin/busybox')).equals(BUSYBOX)).toBe(true)
    expect(statSync(join(root, 'bin/busybox')).mode & 0o777).toBe(0o755)
    expect(readFileSync(join(root, 'bin/sh')).equals(BUSYBOX)).toBe(true)
    expect(statSync(join(root, 'tmp')).mode & 0o7777).toBe(0o1777)
  })
})

/** By the system's tar, so that a fault of the writer cannot be undone by the same fault in a reader. */
function unpack(archive: Buffer, target: string): void {
  execFileSync('mkdir', ['-p', target])
  const path = `${target}.tar`
  writeFileSync(path, archive)
  try {
    execFileSync('tar', ['-xpf', path, '-C', target], { stdio: ['ignore', 'ignore', 'inherit'] })
  } finally {
    rmSync(path)
  }
}

function readBlob(descriptor: Descriptor): unknown {
  const content = readFileSync(blobPath(descriptor))
  expect(content.length).toBe(descriptor.size)
  return JSON.parse(content.toString())
}

function blobPath(descriptor: Descriptor): string {
  return join(folder, 'blobs/sha256', descriptor.digest.replace('sha256:', ''))
}

function sha256(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}
