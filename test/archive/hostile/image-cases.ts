import { type HostileCase, withLast, withMember, without } from './hostile-case.ts'
import { field, imageOf, messageOf, varintField } from '../../support/raw-image.ts'
import { rawMember } from '../../support/raw-tar.ts'

const PSTREE = 'checkpoint/pstree.img'
const READ = { claim: { pod: 'web-0' }, criuVersion: '4.2.1' }

const pstree = (...entries: readonly Uint8Array[]) => withMember(PSTREE, imageOf(0x50273030, ...entries))
const processEntry = (pid: number, ppid: number) => messageOf(varintField(1, pid), varintField(2, ppid))
const stats = (...fields: readonly Uint8Array[]) =>
  withMember('stats-dump', imageOf(0x57093306, { common: 0x55105940 }, messageOf(field(1, messageOf(...fields)))))

const inventory = (...fields: readonly Uint8Array[]) =>
  withMember('checkpoint/inventory.img', imageOf(0x58313116, messageOf(...fields)))

export const imageCases: readonly HostileCase[] = [
  {
    name: 'no inventory',
    archive: () => without('checkpoint/inventory.img'),
    code: 'NoInventory',
    summary: { ...READ, processCount: 2 },
  },
  { name: 'no process tree', archive: () => without(PSTREE), code: 'NoProcessTree', summary: READ },
  {
    name: 'a process tree of twenty mebibytes',
    archive: () => withMember(PSTREE, Buffer.alloc(20 * 1024 * 1024)),
    code: 'ImageTooLarge',
    summary: READ,
  },
  {
    name: 'a process tree of text',
    archive: () => withMember(PSTREE, 'hello, I am pstree'),
    code: 'ImageMagic',
    summary: READ,
  },
  { name: 'a process tree of three bytes', archive: () => withMember(PSTREE, 'abc'), code: 'ImageMagic' },
  {
    name: 'another image under the name of the process tree',
    archive: () => withMember(PSTREE, imageOf(0x56303138, processEntry(1, 0))),
    code: 'ImageMagic',
  },
  {
    name: 'an image under the name of the statistics',
    archive: () => withMember('stats-dump', imageOf(0x57093306, messageOf())),
    code: 'ImageMagic',
    summary: { processCount: 2 },
  },
  {
    name: 'an entry that claims four gigabytes',
    archive: () => withMember(PSTREE, imageOf(0x50273030, { rest: Buffer.from('ffffffff', 'hex') })),
    code: 'ImageEntryTooLarge',
  },
  {
    name: 'an entry longer than its image',
    archive: () => withMember(PSTREE, imageOf(0x50273030, { rest: Buffer.from('0a0000000801', 'hex') })),
    code: 'ImageCutOff',
  },
  {
    name: 'half the length of an entry',
    archive: () => withMember(PSTREE, imageOf(0x50273030, processEntry(1, 0), { rest: Buffer.from('0a00', 'hex') })),
    code: 'ImageCutOff',
  },
  {
    name: 'millions of entries of no bytes',
    archive: () => withMember('checkpoint/pstree.img', Buffer.concat([imageOf(0x50273030), Buffer.alloc(8_000_000)])),
    code: 'FieldMissing',
  },
  {
    name: 'a million processes of one number',
    archive: () => {
      const entry = imageOf(0, { common: undefined }, processEntry(1, 0)).subarray(4)
      return withMember(PSTREE, Buffer.concat([imageOf(0x50273030), Buffer.alloc(1_000_001 * entry.length, entry)]))
    },
    code: 'ImageTooManyEntries',
  },
  { name: 'a process tree without a process', archive: () => pstree(), code: 'ImageEmpty' },
  {
    name: 'an inventory without an entry',
    archive: () => withMember('checkpoint/inventory.img', Buffer.from('16313158', 'hex')),
    code: 'ImageEmpty',
  },
  {
    name: 'images of a version to come',
    archive: () =>
      withMember('checkpoint/inventory.img', imageOf(0x58313116, { common: undefined }, messageOf(varintField(1, 4)))),
    code: 'ImageVersion',
    summary: { processCount: 2 },
  },
  {
    name: 'an inventory without a version',
    archive: () =>
      withMember('checkpoint/inventory.img', imageOf(0x58313116, { common: undefined }, messageOf(varintField(2, 1)))),
    code: 'FieldMissing',
  },
  { name: 'a process without a number', archive: () => pstree(messageOf(varintField(2, 0))), code: 'FieldMissing' },
  {
    name: 'a process number of the wrong type',
    archive: () => pstree(messageOf(field(1, Buffer.from('1')), varintField(2, 0))),
    code: 'FieldMissing',
  },
  { name: 'a field with the number zero', archive: () => pstree(Buffer.from('0001', 'hex')), code: 'ProtobufInvalid' },
  { name: 'a field of a group', archive: () => pstree(Buffer.from('0b0801', 'hex')), code: 'ProtobufInvalid' },
  { name: 'a field of wire type seven', archive: () => pstree(Buffer.from('0f01', 'hex')), code: 'ProtobufInvalid' },
  {
    name: 'a number of eleven bytes',
    archive: () => pstree(Buffer.from(`08${'80'.repeat(10)}01`, 'hex')),
    code: 'ProtobufInvalid',
  },
  { name: 'a number that does not end', archive: () => pstree(Buffer.from('0880', 'hex')), code: 'ProtobufInvalid' },
  {
    name: 'a field longer than its message',
    archive: () => pstree(Buffer.from('2a7f00', 'hex')),
    code: 'ProtobufInvalid',
  },
  {
    name: 'a field of 2^63 bytes',
    archive: () => pstree(Buffer.from('2affffffffffffffff7f00', 'hex')),
    code: 'ProtobufInvalid',
  },
  {
    name: 'a statistics message longer than its entry',
    archive: () => withMember('stats-dump', imageOf(0x57093306, { common: 0x55105940 }, Buffer.from('0a7f08', 'hex'))),
    code: 'ProtobufInvalid',
  },
  {
    name: 'two million threads in two megabytes',
    archive: () => pstree(messageOf(varintField(1, 1), varintField(2, 0), field(5, Buffer.alloc(2_000_000, 1)))),
    code: 'ProtobufTooManyValues',
  },
  {
    name: 'a number of pages beyond 2^53',
    archive: () => stats(varintField(7, 2n ** 63n)),
    code: 'NumberTooLarge',
    summary: { processCount: 2 },
  },
  {
    name: 'one process twice',
    archive: () => pstree(processEntry(1, 0), processEntry(10, 1), processEntry(10, 1)),
    code: 'DuplicateProcess',
  },
  {
    name: 'a process that is its own parent',
    archive: () => pstree(processEntry(1, 0), processEntry(10, 10)),
    code: 'ProcessCycle',
  },
  {
    name: 'processes that are each other’s parents',
    archive: () => pstree(processEntry(1, 10), processEntry(10, 1)),
    code: 'NoRootProcess',
  },
  {
    name: 'a process whose parent is missing',
    archive: () => pstree(processEntry(1, 0), processEntry(10, 7)),
    code: 'MissingParent',
    state: 'whole',
    summary: { processCount: 2 },
  },
  {
    name: 'images left over from an earlier dump',
    archive: () =>
      withLast(rawMember({ name: 'checkpoint/mm-17.img' }, 'old'), rawMember({ name: 'checkpoint/mm-84.img' }, 'old')),
    code: 'StaleImages',
    state: 'whole',
    summary: { processCount: 2 },
  },
  {
    name: 'compressed pages',
    archive: () => inventory(varintField(1, 3), varintField(15, 1), varintField(16, 262_144)),
    code: 'PagesCompressed',
    state: 'whole',
    summary: { processCount: 2 },
  },
  {
    name: 'pages compressed as a fork does',
    archive: () => inventory(varintField(1, 3), varintField(15, 2)),
    code: 'PageCompressionUnsupported',
    state: 'whole',
    summary: { processCount: 2 },
  },
  {
    name: 'pages left over from an earlier dump',
    archive: () => withLast(rawMember({ name: 'checkpoint/pages-9.img' }, Buffer.alloc(8192))),
    code: 'MemoryDisagrees',
    state: 'whole',
    summary: { processCount: 2 },
  },
]
