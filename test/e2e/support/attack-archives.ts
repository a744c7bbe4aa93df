import { constants, createZstdCompress, gzipSync, zstdCompressSync } from 'node:zlib'
import { buffer } from 'node:stream/consumers'
import { Readable } from 'node:stream'
import { honestArchive, honestMembers, withMember } from '../../archive/hostile/hostile-case.ts'
import { field, imageOf, messageOf, varintField } from '../../support/raw-image.ts'
import { base256, BLOCK, END_OF_TAR, paxMember, paxRecord, rawHeader, rawMember } from '../../support/raw-tar.ts'

export type Bytes = Iterable<Uint8Array> | Uint8Array

const MIB = 1024 * 1024
const MEMBERS = 200_000
const PSTREE = 0x50273030
const INVENTORY = 0x58313116
const SERVICE_STATS = 0x57093306

/** Names that break lines, turn around, end early, climb or are no text. */
const ODD = [
  '../../etc/cron.d/x',
  '/etc/shadow',
  '\u001b[2J\u001b]0;x\u0007',
  '\u202egnp.exe',
  'a\nb\r\nc',
  '.wh..wh..opq',
  'checkpoint/core-4294967296.img',
  '\u0000\u0001\u0002',
  '\\\\"\'`$(id)',
  '\u{e0041}\u2028',
]

const oddName = (index: number) =>
  index % 11 === 10
    ? Buffer.from([0xff, 0xfe, 0x80, ...Buffer.from(String(index))])
    : `${ODD[index % ODD.length] ?? ''}${String(index)}`

/** The members of an honest archive, then these, then the end. */
function* after(members: Iterable<Uint8Array>): Iterable<Uint8Array> {
  for (const { blocks } of honestMembers()) yield blocks
  yield* members
  yield END_OF_TAR
}

function* times(count: number, make: (index: number) => Uint8Array): Iterable<Uint8Array> {
  for (let index = 0; index < count; index += 1) yield make(index)
}

/** A member of gzip or frame of zstd for each 8 MiB. */
function* packed(bytes: Iterable<Uint8Array>, pack: (part: Uint8Array) => Uint8Array): Iterable<Uint8Array> {
  let parts: Uint8Array[] = []
  let size = 0
  for (const part of bytes) {
    parts.push(part)
    size += part.length
    if (size < 8 * MIB) continue
    yield pack(Buffer.concat(parts))
    parts = []
    size = 0
  }
  yield pack(Buffer.concat(parts))
}

const gzip = (part: Uint8Array) => gzipSync(part, { level: 1 })
const zstd = (part: Uint8Array) => zstdCompressSync(part)

/** Zeros without end behind the header of a member that claims a terabyte. */
function* bomb(pack: (part: Uint8Array) => Uint8Array, repeats: number): Iterable<Uint8Array> {
  yield pack(Buffer.concat([honestArchive().subarray(0, -1024), rawHeader({ name: 'x', size: base256(2n ** 40n) })]))
  const zeros = pack(Buffer.alloc(10 * MIB))
  for (let count = 0; count < repeats; count += 1) yield zeros
}

let oddHeaders: Buffer | undefined

/** As many members as an archive may have, made once for all that use them. */
function* oddMembers(): Iterable<Uint8Array> {
  oddHeaders ??= Buffer.concat([...times(MEMBERS, (index) => rawHeader({ name: oddName(index) }))])
  for (let at = 0; at < oddHeaders.length; at += MIB) yield oddHeaders.subarray(at, at + MIB)
}

const unreadablePath = (index: number, length: number) => `${String(index)}${'\u0001'.repeat(length)}`

/** Extended headers whose path is a mebibyte of bytes that are shown as four characters each. */
const longPaths = (count: number) =>
  after(
    times(count, (index) =>
      Buffer.concat([paxMember({ path: unreadablePath(index, MIB - 100) }), rawMember({ name: 'x' })]),
    ),
  )

/** Each of these needs a window of 2^27 bytes: what comes again lies that far back. */
function largestWindow(): Promise<Uint8Array> {
  const noise = Buffer.from(Array.from({ length: MIB }, (_, index) => (index * index * 31 + index * 7) & 0xff))
  const pages = Buffer.concat([rawHeader({ name: 'checkpoint/pages-9.img', size: 160 * MIB })])
  const parts = [honestArchive().subarray(0, -1024), pages, ...times(160, () => noise), END_OF_TAR]
  const params = { [constants.ZSTD_c_windowLog]: 27, [constants.ZSTD_c_enableLongDistanceMatching]: 1 }
  return buffer(Readable.from(parts).pipe(createZstdCompress({ params })))
}

/** With its length in front, as it stands in an image. Field 5 are threads. */
function processEntry(index: number): Buffer {
  const message = messageOf(varintField(1, index + 1), varintField(2, Math.max(1, index)))
  return Buffer.concat([Buffer.from([message.length, 0, 0, 0]), message])
}

function nested(depth: number): Buffer {
  let message: Buffer = Buffer.alloc(0)
  for (let level = 0; level < depth; level += 1) message = field(2, message)
  return message
}

const json = (name: string, text: string) => withMember(name, text)

/** What somebody may put into the checkpoint directory. Small as files, and costly for who reads them carelessly. */
export const HOSTILE_ARCHIVES: Readonly<Record<string, () => Bytes | Promise<Bytes>>> = {
  'largest-window': largestWindow,
  'odd-names': () => after(oddMembers()),
  'odd-names-gzip': () => packed(after(oddMembers()), gzip),
  'odd-names-zstd': () => packed(after(oddMembers()), zstd),
  'same-name': () => packed(after(times(200_000, () => rawHeader({ name: 'config.dump', size: 0 }))), gzip),
  'odd-types': () =>
    packed(
      after(
        times(200_000, (index) =>
          rawHeader({
            name: oddName(index),
            type: '1234567SDVMK'[index % 12] ?? '1',
            linkName: '\u001b[2J'.repeat(20),
          }),
        ),
      ),
      gzip,
    ),
  'bad-checksums': () =>
    packed(after(times(100_000, (index) => rawHeader({ name: oddName(index), checksum: 1 }))), gzip),
  'many-images': () =>
    packed(after(times(100_000, (index) => rawHeader({ name: `checkpoint/core-${String(index + 2)}.img` }))), zstd),
  'huge-sizes': () => [...times(1000, (index) => rawHeader({ name: `a${String(index)}`, size: base256(2n ** 62n) }))],
  'million-processes': () =>
    withMember('checkpoint/pstree.img', imageOf(PSTREE, { rest: Buffer.concat([...times(1_000_000, processEntry)]) })),
  'million-threads': () =>
    withMember(
      'checkpoint/pstree.img',
      imageOf(
        PSTREE,
        messageOf(
          varintField(1, 1),
          varintField(2, 0),
          Buffer.concat([...times(1_000_000, (index) => varintField(5, index))]),
        ),
      ),
    ),
  'deep-inventory': () => withMember('checkpoint/inventory.img', imageOf(INVENTORY, nested(20_000))),
  'wide-stats': () =>
    withMember(
      'stats-dump',
      imageOf(SERVICE_STATS, { common: 0x55105940 }, field(1, Buffer.alloc(8 * MIB, varintField(1, 1)))),
    ),
  'gzip-bomb': () => bomb(gzip, 1000),
  'zstd-bomb': () => bomb(zstd, 2000),
  'bomb-in-rootfs-diff': () => withMember('rootfs-diff.tar', Buffer.concat([...bomb(gzip, 1000)])),
  'bomb-in-bomb': () =>
    packed([withMember('rootfs-diff.tar', Buffer.concat([...bomb(gzip, 500)]))], (part) => gzip(zstd(gzip(part)))),
  'diff-of-odd-names': () => withMember('rootfs-diff.tar', Buffer.concat([...packed(oddMembers(), gzip)])),
  'empty-gzip-members': () => {
    const none = gzipSync('')
    return Buffer.concat([gzip(honestArchive().subarray(0, -1024)), Buffer.alloc(500_000 * none.length, none)])
  },
  'empty-zstd-frames': () => {
    const skippable = Buffer.from('502a4d1800000000', 'hex')
    return Buffer.concat([zstd(honestArchive().subarray(0, -1024)), Buffer.alloc(1_000_000 * 8, skippable)])
  },
  'long-pax': () => longPaths(16),
  'long-pax-gzip': () => packed(longPaths(70), (part) => gzipSync(part)),
  'wide-pax': () => {
    const records = Buffer.concat([...times(40_000, (index) => paxRecord(`A.${String(index)}`, '\u0001'))])
    return packed(after(times(60, () => Buffer.concat([paxMember(records), rawMember({ name: 'x' })]))), gzip)
  },
  'many-pax': () =>
    packed(
      after(
        times(30_000, (index) =>
          Buffer.concat([paxMember({ path: unreadablePath(index, 400), x: '1' }), rawMember({ name: 'x' })]),
        ),
      ),
      gzip,
    ),
  'global-pax': () =>
    packed(after(times(50_000, (index) => paxMember({ path: unreadablePath(index, 400) }, 'g'))), gzip),
  'long-gnu-names': () =>
    packed(
      after(
        times(1000, (index) =>
          Buffer.concat([
            rawMember({ name: '././@LongLink', type: 'L' }, unreadablePath(index, 60_000)),
            rawMember({ name: 'x' }),
          ]),
        ),
      ),
      gzip,
    ),
  'deep-json': () => json('spec.dump', `${'{"a":'.repeat(600_000)}1${'}'.repeat(600_000)}`),
  'wide-json': () =>
    json('config.dump', `{${[...Array(250_000).keys()].map((key) => `"k${String(key)}":[{}]`).join()}}`),
  'escaped-json': () => json('status.dump', JSON.stringify({ metadata: { name: '\u0001'.repeat(600_000) } })),
  'many-deleted-files': () =>
    Buffer.concat([
      ...after([
        rawMember(
          { name: 'deleted.files' },
          JSON.stringify(Array.from({ length: 200_000 }, (_, index) => `/x\u001b${String(index)}`)),
        ),
      ]),
    ]),
  'long-log': () => packed([withMember('dump.log', Buffer.alloc(60 * MIB, '(00.000001) x\u001b[2J'))], gzip),
  noise: () => Buffer.from(Array.from({ length: 4 * MIB }, (_, index) => (index * 2_654_435_761) >>> 24)),
  zeros: () => Buffer.alloc(BLOCK),
}

/** A member of 1 TiB, and what the disk has of it: a hole. */
export function sparseHead(): Buffer {
  return Buffer.concat([honestArchive().subarray(0, -1024), rawHeader({ name: 'x', size: base256(2n ** 40n) })])
}

/** Some ten kilobytes that hold twenty mebibytes of a name. */
export function smallBomb(): Buffer {
  return Buffer.concat([...packed(longPaths(20), (part) => gzipSync(part))])
}
