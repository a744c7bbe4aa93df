import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { buildArchive, counterProcesses, writeArchive } from './archive-builder.ts'
import { goJson } from './go-json.ts'
import { member, tar, type Tar } from './tar-writer.ts'

const folder = mkdtempSync(join(tmpdir(), 'archive-builder-'))
afterAll(() => rmSync(folder, { recursive: true }))

const IMAGES = [
  'checkpoint/',
  'checkpoint/core-1.img',
  'checkpoint/core-10.img',
  'checkpoint/descriptors.json',
  'checkpoint/fdinfo-2.img',
  'checkpoint/fdinfo-3.img',
  'checkpoint/files.img',
  'checkpoint/fs-1.img',
  'checkpoint/fs-10.img',
  'checkpoint/ids-1.img',
  'checkpoint/ids-10.img',
  'checkpoint/inventory.img',
  'checkpoint/mm-1.img',
  'checkpoint/mm-10.img',
  'checkpoint/pagemap-1.img',
  'checkpoint/pagemap-10.img',
  'checkpoint/pages-1.img',
  'checkpoint/pages-2.img',
  'checkpoint/pstree.img',
  'checkpoint/seccomp.img',
]

describe('buildArchive', () => {
  it.each([
    {
      engine: 'containerd' as const,
      expected: [
        ...IMAGES,
        'config.dump',
        'container.log',
        'dump.log',
        'rootfs-diff.tar',
        'spec.dump',
        'stats-dump',
        'status',
        'status.dump',
      ],
    },
    {
      engine: 'cri-o' as const,
      expected: [
        'stats-dump',
        'dump.log',
        ...IMAGES,
        'config.dump',
        'spec.dump',
        'bind.mounts',
        'rootfs-diff.tar',
        'io.kubernetes.cri-o.LogPath',
      ],
    },
  ])('packs the members in the order of $engine, as tar reads them', ({ engine, expected }) => {
    const path = join(folder, `${engine}.tar`)
    const archive = writeArchive(path, { engine })
    expect(execFileSync('tar', ['-tf', path], { encoding: 'utf8' }).trim().split('\n')).toEqual(expected)
    expect(archive.members.map(({ name }) => name)).toEqual(expected)
  })

  it('knows its size and where each member is before it is written', () => {
    const archive = buildArchive()
    const bytes = bytesOf(archive)
    expect(bytes.length).toBe(archive.sizeBytes)
    for (const { offset, sizeBytes } of archive.members.filter(({ name }) => name.endsWith('.dump'))) {
      expect(bytes.toString('utf8', offset, offset + sizeBytes)).toMatch(/^\{[^]*\}$/)
    }
  })

  it('ends with exactly two zero blocks', () => {
    const bytes = bytesOf(buildArchive())
    expect(bytes.subarray(-1024)).toEqual(Buffer.alloc(1024))
    expect(bytes.subarray(-1536, -1024).some((byte) => byte !== 0)).toBe(true)
  })

  it('makes gigabytes of memory in small pieces', () => {
    const archive = buildArchive({ processes: counterProcesses(3 * 1024 ** 3) })
    expect(archive.sizeBytes).toBeGreaterThan(3 * 1024 ** 3)
    let largest = 0
    let seen = 0
    for (const chunk of archive.chunks()) {
      largest = Math.max(largest, chunk.length)
      seen += chunk.length
      if (seen > 16 * 1024 ** 2) break
    }
    expect(largest).toBeLessThanOrEqual(256 * 1024)
  })

  it('frames every image: magics, then entries that fill the file', () => {
    const archive = buildArchive()
    const bytes = bytesOf(archive)
    const images = archive.members.filter(({ name }) => name.endsWith('.img') && !name.includes('pages-'))
    expect(images).toHaveLength(16)
    const others = images.filter(({ offset }) => bytes.readUInt32LE(offset) !== 0x54564319)
    expect(others.map(({ name }) => name)).toEqual(['checkpoint/inventory.img'])
    const ends = images.map(({ name, offset, sizeBytes }) => {
      let at = name.endsWith('inventory.img') ? 4 : 8
      while (at < sizeBytes) at += 4 + bytes.readUInt32LE(offset + at)
      return { name, at }
    })
    expect(ends).toEqual(images.map(({ name, sizeBytes }) => ({ name, at: sizeBytes })))
  })

  it('puts argv and environment where the stack of each process ends', () => {
    const archive = buildArchive({
      processes: [{ ...processOf('app'), argv: ['/app', '--port', '80'], env: ['TOKEN=x'], memoryText: 'needle' }],
    })
    const pages = contentOf(archive, 'checkpoint/pages-1.img')
    expect(pages.length % 4096).toBe(0)
    expect(pages.toString('latin1').endsWith(`/app\0--port\x0080\0TOKEN=x\0/bin/busybox\0${'\0'.repeat(8)}`)).toBe(true)
    expect(pages.indexOf('needle')).toBe(8)
  })

  it('keeps nanoseconds as Go writes them, beyond what a JavaScript number holds', () => {
    const archive = buildArchive({ createdAt: new Date('2026-11-20T16:01:06.810Z') })
    expect(contentOf(archive, 'status.dump').toString()).toContain('"created_at":1795190466810000000,')
  })

  it.each([
    { engine: 'containerd' as const, key: 'io.kubernetes.cri.sandbox-name' },
    { engine: 'cri-o' as const, key: 'io.kubernetes.pod.name' },
  ])('names the pod in the annotations of $engine', ({ engine, key }) => {
    const spec: unknown = JSON.parse(contentOf(buildArchive({ engine, pod: 'ledger-1' }), 'spec.dump').toString())
    expect(spec).toMatchObject({ annotations: { [key]: 'ledger-1' } })
  })

  it('packs what the container wrote, for containerd with the folders above it', () => {
    const path = join(folder, 'diff.tar.gz')
    const changedFiles = new Map([['var/lib/app/data', 'x']])
    writeFileSync(path, contentOf(buildArchive({ changedFiles }), 'rootfs-diff.tar'))
    expect(execFileSync('tar', ['-tzf', path], { encoding: 'utf8' })).toBe(
      'var/\nvar/lib/\nvar/lib/app/\nvar/lib/app/data\n',
    )
    expect(buildArchive({ changedFiles: new Map() }).members.map(({ name }) => name)).not.toContain('rootfs-diff.tar')
  })

  it('writes a file that only root can read', () => {
    const path = join(folder, 'mode.tar')
    writeArchive(path)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readFileSync(path)).toEqual(bytesOf(buildArchive()))
  })
})

describe('tar', () => {
  // Two headers of an archive that containerd 2.1.9 wrote: the checksum covers every byte of the block.
  it.each([
    { name: 'checkpoint/', mode: 0o700, sizeBytes: 0, checksum: '011361' },
    { name: 'checkpoint/cgroup.img', mode: 0o644, sizeBytes: 5383, checksum: '013374' },
  ])('writes the header of $name byte for byte as Go does', ({ name, mode, sizeBytes, checksum }) => {
    const modifiedAt = new Date(0o15300067306 * 1000)
    const header = bytesOf(tar([member(name, Buffer.alloc(sizeBytes), { mode, modifiedAt })])).subarray(0, 512)
    expect(header.toString('latin1', 148, 156)).toBe(`${checksum}\0 `)
  })

  it('gives the size of more than 8 GiB in a PAX record', () => {
    const sizeBytes = 9 * 1024 ** 3
    const { chunks } = tar([{ name: 'pages-1.img', sizeBytes, chunks: () => [], mode: 0o644, modifiedAt: new Date(0) }])
    const [headers = Buffer.alloc(0)] = chunks()
    const text = Buffer.from(headers).toString('latin1')
    expect(text).toContain('19 size=9663676416\n')
    expect(text.slice(1024 + 124, 1024 + 136)).toBe('00000000000\0')
  })

  it.each([
    { name: 'a long name', raw: Buffer.from(`${'d/'.repeat(60)}file`), listed: `${'d/'.repeat(60)}file` },
    { name: 'a name that is no UTF-8', raw: Buffer.from([0x61, 0xff, 0x62]), listed: 'a\\377b' },
  ])('gives $name in a PAX record', ({ raw, listed }) => {
    const path = join(folder, 'names.tar')
    const entry = { ...member('x', 'content', { mode: 0o644, modifiedAt: new Date(0) }), rawName: raw }
    writeFileSync(path, bytesOf(tar([entry])))
    expect(execFileSync('tar', ['-tf', path], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } }).trim()).toBe(
      listed,
    )
  })
})

describe('goJson', () => {
  it.each([
    { name: 'escapes what HTML would mind', value: '<a & b>', expected: '"\\u003ca \\u0026 b\\u003e"' },
    { name: 'leaves undefined fields out', value: { a: undefined, b: 1n }, expected: '{"b":1}' },
    { name: 'writes empty lists and objects', value: { a: [], b: {} }, expected: '{"a":[],"b":{}}' },
  ])('$name', ({ value, expected }) => {
    expect(goJson(value)).toBe(expected)
  })

  it('indents like MarshalIndent', () => {
    const value = { a: [1, { b: 'x' }], c: null, d: {} }
    expect(goJson(value, '  ')).toBe(JSON.stringify(value, undefined, 2))
  })
})

function processOf(comm: string) {
  const [main] = counterProcesses(8192)
  if (main === undefined) throw new Error('counterProcesses gave no process')
  return { ...main, comm }
}

function bytesOf(archive: Tar): Buffer {
  return Buffer.concat([...archive.chunks()])
}

function contentOf(archive: Tar, name: string): Buffer {
  const found = archive.members.find((each) => each.name === name)
  if (found === undefined) throw new Error(`no member ${name}`)
  return bytesOf(archive).subarray(found.offset, found.offset + found.sizeBytes)
}
