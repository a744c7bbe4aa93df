import { closeSync, openSync, writeSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { type ArchiveContents, metadataMembers } from './archive-metadata.ts'
import { buildImages, type DumpedProcess, statsImage } from './criu-image-builder.ts'
import { member, tar, type Tar, type TarMember } from './tar-writer.ts'

export type ArchiveOptions = Partial<ArchiveContents>

/** A shell that counts, like the containers of the demo. */
export function counterProcesses(memoryBytes = 64 * 1024): DumpedProcess[] {
  const env = ['PATH=/bin', 'HOSTNAME=node-a']
  const loop = 'i=0; while true; do i=$((i+1)); echo $i > /tmp/count; echo tick $i; sleep 1; done'
  return [
    { pid: 1, ppid: 0, comm: 'sh', argv: ['/bin/sh', '-c', loop], env, memoryBytes, memoryText: 'counting' },
    { pid: 10, ppid: 1, comm: 'sleep', argv: ['sleep', '1'], env, memoryBytes: 8192, memoryText: 'sleeping' },
  ]
}

/** A complete checkpoint archive as the engine writes it: members, order, modes, CRIU images with real pages. */
export function buildArchive(options: ArchiveOptions = {}): Tar {
  const contents = withDefaults(options)
  const images = imageMembers(contents)
  const { before, after } = metadataMembers(contents, {
    rootfsDiff: rootfsDiff(contents),
    stats: statsImage(contents.processes, contents.frozenMicros),
  })
  return tar([...before, ...images, ...after])
}

/** Replaces the file at this path. Blocks while it writes: for tests that want a file and nothing else. */
export function writeArchive(path: string, options: ArchiveOptions = {}): Tar {
  const archive = buildArchive(options)
  const file = openSync(path, 'w', 0o600)
  try {
    for (const chunk of archive.chunks()) writeSync(file, chunk)
  } finally {
    closeSync(file)
  }
  return archive
}

function withDefaults(options: ArchiveOptions): ArchiveContents {
  return {
    engine: 'containerd',
    namespace: 'shop',
    pod: 'web-0',
    podUid: '11111111-2222-3333-4444-555555555555',
    container: 'counter',
    containerId: '3d49'.repeat(16),
    sandboxId: '992b'.repeat(16),
    attempt: 0,
    image: 'localhost/counter:1',
    imageId: `sha256:${'4f98'.repeat(16)}`,
    processes: counterProcesses(),
    createdAt: new Date('2026-06-12T10:00:00Z'),
    startedAt: new Date('2026-06-12T10:00:01Z'),
    checkpointedAt: new Date('2026-06-12T10:05:00Z'),
    frozenMicros: 34_219,
    logLines: ['tick 1', 'tick 2'],
    changedFiles: new Map([['tmp/count', '2\n']]),
    ...options,
  }
}

function imageMembers(contents: ArchiveContents): TarMember[] {
  const modifiedAt = contents.checkpointedAt
  // runc makes the folder without the x bit; containerd packs a folder of its own.
  const folderMode = contents.engine === 'containerd' ? 0o700 : 0o600
  return [
    member('checkpoint/', '', { mode: folderMode, modifiedAt }),
    ...buildImages(contents.processes).map((image): TarMember => ({
      ...image,
      name: `checkpoint/${image.name}`,
      mode: 0o644,
      modifiedAt,
    })),
  ]
}

/** containerd packs a layer (gzip, with the parent folders), CRI-O the changed files alone. */
function rootfsDiff({ engine, changedFiles, checkpointedAt: modifiedAt }: ArchiveContents): Buffer {
  const files = [...changedFiles].map(([path, content]) => member(path, content, { mode: 0o644, modifiedAt }))
  if (engine === 'cri-o') return Buffer.concat([...tar(files).chunks()])
  const folders = new Set(files.flatMap(({ name }) => parentFolders(name)))
  const members = [...[...folders].map((name) => member(name, '', { mode: 0o755, modifiedAt })), ...files]
  const inOrder = members.toSorted((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))
  return gzipSync(Buffer.concat([...tar(inOrder).chunks()]))
}

function parentFolders(path: string): string[] {
  const parts = path.split('/').slice(0, -1)
  return parts.map((_, index) => `${parts.slice(0, index + 1).join('/')}/`)
}
