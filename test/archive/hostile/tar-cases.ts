import {
  base256,
  BLOCK,
  END_OF_TAR,
  GNU_MAGIC,
  paxMember,
  paxRecord,
  rawHeader,
  rawMember,
} from '../../support/raw-tar.ts'
import {
  honestArchive,
  honestMembers,
  type HostileCase,
  jsonOf,
  madeUpSource,
  tarOf,
  withFirst,
  withLast,
  withMember,
  without,
} from './hostile-case.ts'

const IDENTITY = { namespace: 'shop', pod: 'web-0', container: 'counter' }
/** The rest of the archive is read all the same. */
const READ = { engine: 'containerd', claim: IDENTITY, processCount: 2 }
const bombText = 'x'.repeat(64)

export const endCases: readonly HostileCase[] = [
  { name: 'a file of no bytes', archive: () => Buffer.alloc(0), code: 'Empty', state: 'incomplete' },
  {
    name: 'less than one header',
    archive: () => honestArchive().subarray(0, 100),
    code: 'CutOff',
    state: 'incomplete',
  },
  {
    name: 'a file cut off within the memory',
    archive: () => honestArchive().subarray(0, 64 * 1024),
    code: 'CutOff',
    state: 'incomplete',
  },
  {
    name: 'a file cut off within the padding of a member',
    archive: () => tarOf(rawMember({ name: 'a' }, 'text')).subarray(0, BLOCK + 10),
    code: 'CutOff',
    state: 'incomplete',
  },
  {
    name: 'a size of eight gigabytes with nothing behind it',
    archive: () => Buffer.concat([rawHeader({ name: 'checkpoint/pages-1.img', size: 0o77777777777 }), END_OF_TAR]),
    code: 'CutOff',
    state: 'incomplete',
    summary: { memoryBytes: 0 },
  },
  {
    name: 'no blocks of zeros at the end',
    archive: () => honestArchive().subarray(0, -1024),
    code: 'NoEndMarker',
    state: 'incomplete',
    summary: READ,
  },
  {
    name: 'one block of zeros at the end',
    archive: () => honestArchive().subarray(0, -512),
    code: 'NoEndMarker',
    state: 'incomplete',
    summary: READ,
  },
  {
    name: 'a lone block of zeros before further members',
    archive: () => withFirst(rawMember({ name: 'a' }), Buffer.alloc(BLOCK)),
    code: 'LoneZeroBlock',
  },
  {
    name: 'the tail of an older, larger file behind the end',
    archive: () => Buffer.concat([honestArchive(), Buffer.from('memory of another container'.repeat(100))]),
    code: 'TrailingBytes',
    state: 'whole',
    summary: READ,
  },
  {
    name: 'a tail of zeros longer than any padding',
    archive: () => Buffer.concat([honestArchive(), Buffer.alloc(2 * 1024 * 1024)]),
    code: 'TrailingBytes',
    state: 'whole',
    summary: READ,
  },
  {
    name: 'a second archive behind the end of the first',
    archive: () => Buffer.concat([honestArchive(), honestArchive()]),
    code: 'TrailingBytes',
    state: 'whole',
    summary: { memberCount: honestMembers().length },
  },
]

export const headerCases: readonly HostileCase[] = [
  { name: 'text in place of a tar', archive: () => Buffer.from('not an archive\n'.repeat(100)), code: 'NotATar' },
  { name: 'zeros in place of a tar', archive: () => Buffer.alloc(64 * 1024), code: 'Empty', state: 'incomplete' },
  {
    name: 'garbage in place of the second header',
    archive: () => Buffer.concat([rawMember({ name: 'a' }), Buffer.alloc(BLOCK, 'garbage'), END_OF_TAR]),
    code: 'HeaderChecksum',
  },
  {
    name: 'a check sum that is wrong by one',
    archive: () => withLast(rawHeader({ name: 'a', checksum: 4711 })),
    code: 'HeaderChecksum',
    summary: READ,
  },
  {
    name: 'a size that is no number',
    archive: () => withLast(rawHeader({ name: 'a', size: '12junk\0\0\0\0\0\0' })),
    code: 'HeaderNumber',
  },
  {
    name: 'a size in hexadecimal',
    archive: () => withLast(rawHeader({ name: 'a', size: '0x000000200\0' })),
    code: 'HeaderNumber',
  },
  {
    name: 'a size with a sign',
    archive: () => withLast(rawHeader({ name: 'a', size: '-0000000001\0' })),
    code: 'HeaderNumber',
  },
  {
    name: 'a negative size in binary',
    archive: () => withLast(rawHeader({ name: 'a', size: base256(-512n) })),
    code: 'HeaderNumber',
  },
  {
    name: 'a size in binary beyond 2^53',
    archive: () => withLast(rawHeader({ name: 'a', size: base256(2n ** 60n) })),
    code: 'HeaderNumber',
  },
  {
    name: 'a size in binary just below 2^53, which its header takes beyond',
    archive: () => withLast(rawHeader({ name: 'a', size: base256(2n ** 53n - 1n) })),
    code: 'HeaderNumber',
  },
  {
    name: 'a size in binary of a terabyte',
    archive: () => withLast(rawHeader({ name: 'a', size: base256(2n ** 40n) })),
    code: 'CutOff',
    state: 'incomplete',
  },
  {
    name: 'a time that is no number',
    archive: () => withLast(rawHeader({ name: 'a', modified: 'yesterday\0\0\0' })),
    code: 'HeaderNumber',
  },
  {
    name: 'a member of a type that nobody knows',
    archive: () => withLast(rawMember({ name: 'a', type: 'Z' })),
    code: 'UnknownType',
    summary: READ,
  },
  {
    name: 'a member of another vendor with content that looks like a header',
    archive: () => withLast(rawMember({ name: 'a', type: 'V' }, rawHeader({ name: 'spec.dump' }))),
    code: 'UnknownType',
    summary: READ,
  },
  {
    name: 'an old sparse member',
    archive: () => withLast(rawMember({ name: 'a', type: 'S', magic: GNU_MAGIC }, bombText)),
    code: 'SparseMember',
  },
  {
    name: 'a folder with a size',
    archive: () => withFirst(rawHeader({ name: 'artifacts/', type: '5', size: 4096 })),
    code: 'SizeWithoutContent',
    state: 'whole',
    summary: READ,
  },
  {
    name: 'a hard link with a size',
    archive: () => withFirst(rawHeader({ name: 'a', type: '1', size: 4096, linkName: 'spec.dump' })),
    code: 'SizeWithoutContent',
    summary: READ,
  },
  {
    name: 'a million members',
    archive: () => {
      const member = rawHeader({ name: 'artifacts/', type: '5' })
      return madeUpSource(1_000_000 * BLOCK, () => member)
    },
    code: 'TooManyMembers',
  },
  {
    name: 'a million global headers and no member',
    archive: () => {
      const [header, content] = [rawHeader({ type: 'g', size: 13 }), Buffer.alloc(BLOCK)]
      content.set(paxRecord('comment', 'x'))
      header.set(rawHeader({ type: 'g', size: paxRecord('comment', 'x').length }))
      return madeUpSource(2_000_000 * BLOCK, (index) => (index % 2 === 0 ? header : content))
    },
    code: 'TooManyMembers',
  },
]

export const extensionCases: readonly HostileCase[] = [
  {
    name: 'a pax header of two mebibytes',
    archive: () => withFirst(paxMember({ comment: 'x'.repeat(2 * 1024 * 1024) })),
    code: 'PaxTooLarge',
  },
  {
    name: 'a pax header that claims a terabyte',
    archive: () => withFirst(rawHeader({ type: 'x', size: base256(2n ** 40n) })),
    code: 'PaxTooLarge',
  },
  {
    name: 'a pax header of text',
    archive: () => withFirst(paxMember(Buffer.from('path=config.dump\n'))),
    code: 'PaxInvalid',
  },
  {
    name: 'a pax record longer than its header',
    archive: () => withFirst(paxMember(Buffer.from('999 path=a\n'))),
    code: 'PaxInvalid',
  },
  {
    name: 'a pax record of length zero',
    archive: () => withFirst(paxMember(Buffer.from('0 path=a\n'))),
    code: 'PaxInvalid',
  },
  {
    name: 'a pax record whose length takes a megabyte of digits',
    archive: () => withFirst(paxMember(Buffer.alloc(500_000, '1'))),
    code: 'PaxInvalid',
  },
  {
    name: 'a pax record without a name',
    archive: () => withFirst(paxMember(Buffer.from('8 =text\n'))),
    code: 'PaxInvalid',
  },
  {
    name: 'a pax record that does not end in a line',
    archive: () => withFirst(paxMember(Buffer.from('9 path=ab'))),
    code: 'PaxInvalid',
  },
  {
    name: 'a pax header with two sizes',
    archive: () => withFirst(paxMember(Buffer.concat([paxRecord('size', '0'), paxRecord('size', '512')]))),
    code: 'PaxInvalid',
  },
  { name: 'a pax size in hexadecimal', archive: () => withFirst(paxMember({ size: '0x200' })), code: 'PaxInvalid' },
  { name: 'a pax size with an exponent', archive: () => withFirst(paxMember({ size: '1e3' })), code: 'PaxInvalid' },
  { name: 'a negative pax size', archive: () => withFirst(paxMember({ size: '-512' })), code: 'PaxInvalid' },
  {
    name: 'a pax size beyond 2^53',
    archive: () => withFirst(paxMember({ size: '9223372036854775807' })),
    code: 'PaxInvalid',
  },
  { name: 'a pax time that is none', archive: () => withFirst(paxMember({ mtime: 'now' })), code: 'PaxInvalid' },
  {
    name: 'a record hidden in the line breaks of an extended attribute',
    archive: () =>
      tarOf(
        paxMember({ 'SCHILY.xattr.user.x': Buffer.concat([Buffer.from('\n'), paxRecord('path', 'status.dump')]) }),
        rawMember({ name: 'spec.dump' }, jsonOf('spec.dump')),
        rawMember({ name: 'a', type: 'Z' }),
      ),
    code: 'UnknownType',
    // Read line by line, the member after it would be called status.dump.
    summary: { engine: 'containerd', claim: { pod: 'web-0' } },
  },
  {
    name: 'a sparse file by pax',
    archive: () => withFirst(paxMember({ 'GNU.sparse.major': '1' })),
    code: 'SparseMember',
  },
  { name: 'a global path', archive: () => withFirst(paxMember({ path: 'config.dump' }, 'g')), code: 'PaxGlobal' },
  { name: 'a global size', archive: () => withFirst(paxMember({ size: '0' }, 'g')), code: 'PaxGlobal' },
  { name: 'a global link', archive: () => withFirst(paxMember({ linkpath: '/etc/shadow' }, 'g')), code: 'PaxGlobal' },
  {
    name: 'a global sparse map',
    archive: () => withFirst(paxMember({ 'GNU.sparse.realsize': '1099511627776' }, 'g')),
    code: 'PaxGlobal',
  },
  {
    name: 'a GNU name of a mebibyte',
    archive: () =>
      withFirst(rawMember({ name: '././@LongLink', type: 'L', magic: GNU_MAGIC }, 'n'.repeat(1024 * 1024))),
    code: 'LongNameTooLarge',
  },
  {
    name: 'a GNU link name of a mebibyte',
    archive: () =>
      withFirst(rawMember({ name: '././@LongLink', type: 'K', magic: GNU_MAGIC }, 'n'.repeat(1024 * 1024))),
    code: 'LongNameTooLarge',
  },
  {
    name: 'two pax headers before one member',
    archive: () => withFirst(paxMember({ path: 'a' }), paxMember({ path: 'config.dump' })),
    code: 'ExtensionRepeated',
  },
  {
    name: 'two GNU names before one member',
    archive: () => {
      return withFirst(gnuName('a'), gnuName('config.dump'))
    },
    code: 'ExtensionRepeated',
  },
  {
    name: 'a pax header before the end',
    archive: () => withLast(paxMember({ path: 'a' })),
    code: 'ExtensionWithoutMember',
    summary: READ,
  },
  {
    name: 'a file cut off within a pax header',
    archive: () => withFirst(paxMember({ comment: 'x'.repeat(2000) })).subarray(0, 1024),
    code: 'CutOff',
    state: 'incomplete',
  },
]

export const nameCases: readonly HostileCase[] = [
  { name: 'a name of no bytes', archive: () => withLast(rawMember({ name: '' })), code: 'NameEmpty', summary: READ },
  {
    name: 'a name of ten thousand bytes',
    archive: () => withFirst(paxMember({ path: 'n'.repeat(10_000) }), rawMember({ name: 'n' })),
    code: 'NameTooLong',
    summary: READ,
  },
  {
    name: 'an absolute name',
    archive: () => withLast(rawMember({ name: '/etc/passwd' })),
    code: 'NameAbsolute',
    summary: READ,
  },
  {
    name: 'a name that leads out',
    archive: () => withLast(rawMember({ name: '../../etc/passwd' })),
    code: 'NameEscapes',
    summary: READ,
  },
  {
    name: 'a name that leads out from within',
    archive: () => withLast(rawMember({ name: 'checkpoint/../../spec.dump' })),
    code: 'NameEscapes',
    summary: READ,
  },
  {
    name: 'a name that leads out by pax',
    archive: () => withFirst(paxMember({ path: '../config.dump' }), rawMember({ name: 'a' }, '{}')),
    code: 'NameEscapes',
    summary: READ,
  },
  {
    name: 'a name that leads out by the prefix of its header',
    archive: () => withLast(rawMember({ name: 'spec.dump', prefix: '..' })),
    code: 'NameEscapes',
    summary: READ,
  },
  {
    name: 'a name with two slashes, which other tools take for a known one',
    archive: () => withFirst(rawMember({ name: 'checkpoint//pstree.img' }, 'not this one')),
    code: 'NameNotPlain',
    summary: READ,
  },
  {
    name: 'a name with a dot in it, which other tools take for a known one',
    archive: () => withFirst(rawMember({ name: 'checkpoint/./pstree.img' }, 'not this one')),
    code: 'NameNotPlain',
    summary: READ,
  },
  {
    name: 'a name with backslashes',
    archive: () => withLast(rawMember({ name: '..\\..\\boot.ini' })),
    code: 'NameBackslash',
    summary: READ,
  },
  {
    name: 'a name with escape sequences for a terminal',
    archive: () => withLast(rawMember({ name: '\u001b[2Jgone' })),
    code: 'NameControl',
    summary: READ,
  },
  {
    name: 'a name with a line break',
    archive: () => withLast(rawMember({ name: 'a\nb' })),
    code: 'NameControl',
    summary: READ,
  },
  {
    name: 'a name with a NUL by pax',
    archive: () => withFirst(paxMember({ path: 'config.dump\0.txt' }), rawMember({ name: 'a' })),
    code: 'NameControl',
  },
  {
    name: 'a name that is not UTF-8',
    archive: () => withLast(rawMember({ name: Buffer.from([0x61, 0xff, 0xfe]) })),
    code: 'NameNotUtf8',
    state: 'whole',
    summary: READ,
  },
  {
    name: 'a whiteout, which deletes a file where the archive becomes an image layer',
    archive: () => withLast(rawMember({ name: 'checkpoint/.wh.pstree.img' })),
    code: 'NameWhiteout',
    summary: READ,
  },
  {
    name: 'sixty megabytes of names',
    archive: () => {
      const size = longNamed(0).length / BLOCK
      let made: { number: number; bytes: Buffer } = { number: -1, bytes: Buffer.alloc(0) }
      return madeUpSource(15_000 * size * BLOCK, (index) => {
        const number = Math.floor(index / size)
        if (made.number !== number) made = { number, bytes: longNamed(number) }
        return made.bytes.subarray((index % size) * BLOCK, ((index % size) + 1) * BLOCK)
      })
    },
    code: 'NamesTooMany',
  },
  {
    name: 'two files config.dump of two containers',
    archive: () => withFirst(rawMember({ name: 'config.dump' }, '{"id":"first","name":"first"}')),
    code: 'DuplicateMember',
    summary: { claim: { containerId: 'first' } },
  },
  {
    name: 'two files spec.dump, one of them written ./spec.dump',
    archive: () => withLast(rawMember({ name: './spec.dump' }, '{"annotations":{"io.container.manager":"libpod"}}')),
    code: 'DuplicateMember',
    summary: READ,
  },
  {
    name: 'the same pages twice',
    archive: () => withLast(rawMember({ name: 'checkpoint/pages-1.img' }, Buffer.alloc(4096))),
    code: 'DuplicateMember',
  },
]

export const typeCases: readonly HostileCase[] = [
  {
    name: 'a symbolic link to a file of the node',
    archive: () => withLast(rawHeader({ name: 'container.log.1', type: '2', linkName: '/etc/shadow' })),
    code: 'LinkMember',
    summary: READ,
  },
  {
    name: 'a hard link to a file of the node',
    archive: () => withLast(rawHeader({ name: 'log', type: '1', linkName: '/etc/shadow' })),
    code: 'LinkMember',
    summary: READ,
  },
  {
    name: 'a symbolic link in place of spec.dump',
    archive: () =>
      withMember('spec.dump', { blocks: rawHeader({ name: 'spec.dump', type: '2', linkName: '/etc/shadow' }) }),
    code: 'NotAFile',
  },
  {
    name: 'a FIFO in place of pstree.img',
    archive: () =>
      withMember('checkpoint/pstree.img', { blocks: rawHeader({ name: 'checkpoint/pstree.img', type: '6' }) }),
    code: 'NotAFile',
  },
  {
    name: 'a character device',
    archive: () => withLast(rawHeader({ name: 'mem', type: '3' })),
    code: 'DeviceMember',
    summary: READ,
  },
  {
    name: 'a block device',
    archive: () => withLast(rawHeader({ name: 'sda', type: '4' })),
    code: 'DeviceMember',
    summary: READ,
  },
  {
    name: 'a FIFO',
    archive: () => withLast(rawHeader({ name: 'pipe', type: '6' })),
    code: 'FifoMember',
    summary: READ,
  },
  {
    name: 'the second half of a checkpoint in two steps',
    archive: () => withFirst(rawHeader({ name: 'checkpoint/parent', type: '2', linkName: '../pre-checkpoint' })),
    code: 'ParentNeeded',
    state: 'whole',
    summary: READ,
  },
]

const memberNamed = (name: string) => honestMembers().find((each) => each.name === name)?.content ?? Buffer.alloc(0)
const IMAGES = ['inventory.img', 'pstree.img', 'pages-1.img'].map((name) => ({
  name,
  content: memberNamed(`checkpoint/${name}`),
}))
const isImage = (name: string) => name.startsWith('checkpoint/')

export const contentCases: readonly HostileCase[] = [
  { name: 'no config.dump', archive: () => without('config.dump'), code: 'NoConfigDump', summary: { processCount: 2 } },
  { name: 'no spec.dump', archive: () => without('spec.dump'), code: 'NoSpecDump', summary: { processCount: 2 } },
  {
    name: 'names that only look like the known ones',
    archive: () => {
      const renamed = ['config.dump', 'spec.dump'].map((name) => rawMember({ name: `x${name}` }, jsonOf(name)))
      const images = honestMembers().filter(({ name }) => isImage(name))
      const moved = rawMember({ name: 'checkpoint-1/config.dump' }, jsonOf('config.dump'))
      return tarOf(...images.map(({ blocks }) => blocks), ...renamed, moved)
    },
    code: 'RawCriuImages',
    state: 'whole',
    summary: { kind: 'criu-images', engine: 'unknown', claim: { isContradictory: false } },
  },
  {
    name: 'metadata without images',
    archive: () =>
      without(
        ...honestMembers()
          .map(({ name }) => name)
          .filter(isImage),
      ),
    code: 'NoCheckpointImages',
    summary: { claim: IDENTITY },
  },
  {
    name: 'an archive of something else',
    archive: () => tarOf(rawMember({ name: 'README' }, 'hello')),
    code: 'NotACheckpoint',
    summary: { kind: 'unknown' },
  },
  {
    name: 'the checkpoint of a pod',
    archive: () => withLast(rawMember({ name: './pod.options' }, '{"version":1,"containers":{}}')),
    code: 'PodCheckpoint',
    state: 'whole',
    summary: { kind: 'pod' },
  },
  {
    name: 'the checkpoint of a pod with a manifest',
    archive: () => tarOf(rawMember({ name: 'checkpoint-manifest.json' }, '{"version":2}')),
    code: 'PodCheckpoint',
    state: 'whole',
    summary: { kind: 'pod' },
  },
  {
    name: 'a folder of CRIU images that somebody packed',
    archive: () => tarOf(...IMAGES.map(({ name, content }) => rawMember({ name: `dump/1/${name}` }, content))),
    code: 'RawCriuImages',
    state: 'whole',
    summary: { kind: 'criu-images', processCount: 2, memoryBytes: IMAGES[2]?.content.length },
  },
  {
    name: 'CRIU images without a folder',
    archive: () => tarOf(...IMAGES.map(({ name, content }) => rawMember({ name }, content))),
    code: 'RawCriuImages',
    state: 'whole',
    summary: { kind: 'criu-images', processCount: 2 },
  },
  {
    name: 'an OCI image',
    archive: () =>
      tarOf(
        rawMember({ name: 'oci-layout' }, '{"imageLayoutVersion":"1.0.0"}'),
        rawMember({ name: 'index.json' }, '{}'),
      ),
    code: 'OciImage',
    state: 'whole',
    summary: { kind: 'oci-image' },
  },
  {
    name: 'the first half of a checkpoint in two steps',
    archive: () =>
      tarOf(
        ...honestMembers().flatMap(({ name, blocks, content }) => {
          if (!isImage(name)) return [blocks]
          return name.endsWith('/') ? [] : [rawMember({ name: `pre-${name}` }, content)]
        }),
      ),
    code: 'PreCheckpoint',
    state: 'whole',
    summary: { claim: IDENTITY, memoryBytes: 0 },
  },
]

function gnuName(text: string): Buffer {
  return rawMember({ name: '././@LongLink', type: 'L', magic: GNU_MAGIC }, `${text}\0`)
}

/** A member with a name of four thousand bytes. */
function longNamed(index: number): Buffer {
  const path = paxRecord('path', `${String(index).padStart(8, '0')}${'n'.repeat(4080)}`)
  return Buffer.concat([rawMember({ type: 'x' }, path), rawHeader({ name: 'n' })])
}
