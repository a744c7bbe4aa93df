/** One file of a CRIU image directory. Its bytes come in pieces, so that gigabytes of memory need no room. */
export interface ImageFile {
  readonly name: string
  readonly sizeBytes: number
  readonly chunks: () => Iterable<Uint8Array>
}

export interface DumpedProcess {
  readonly pid: number
  readonly ppid: number
  readonly comm: string
  readonly argv: readonly string[]
  readonly env: readonly string[]
  /** Its heap, rounded up to whole pages. */
  readonly memoryBytes: number
  /** Stands at the beginning of the heap. */
  readonly memoryText: string
}

const PAGE_BYTES = 4096
const CHUNK_PAGES = 64

// CRIU's own file magics.
const IMAGE_MAGIC = 0x54564319
const SERVICE_MAGIC = 0x55105940
const MAGIC = {
  inventory: 0x58313116,
  pstree: 0x50273030,
  core: 0x55053847,
  ids: 0x54432030,
  mm: 0x57492820,
  fs: 0x51403912,
  fdinfo: 0x56213732,
  files: 0x56303138,
  pagemap: 0x56084025,
  stats: 0x57093306,
  seccomp: 0x64413049,
} as const

const HEAP_START = 0x10000000n
const STACK_END = 0x7ffc00000000n
const EXE_FILE_ID = 1
const ROOT_FILE_ID = 2
const NULL_FILE_ID = 3
const ROOT_MOUNT_ID = 100

/** The images of CRIU 4.2, each name as in the directory, in the byte order of the names (as the engines pack them). */
export function buildImages(processes: readonly DumpedProcess[]): ImageFile[] {
  const files = [
    wholeFile('inventory.img', inventoryImage()),
    wholeFile('pstree.img', image(MAGIC.pstree, ...processes.map(pstreeEntry))),
    wholeFile('files.img', filesImage()),
    wholeFile('seccomp.img', image(MAGIC.seccomp, message())),
    wholeFile('descriptors.json', Buffer.from('["/dev/null","pipe:[4001]","pipe:[4002]"]')),
    ...processes.flatMap((process, index) => processImages(process, index + 1)),
  ]
  return files.toSorted((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))
}

/** `stats-dump`, for a container that was frozen this long. */
export function statsImage(processes: readonly DumpedProcess[], frozenMicros: number): Buffer {
  const pages = processes.reduce((sum, process) => sum + memoryOf(process).pageCount, 0)
  const dump = message(
    varint(1, 420),
    varint(2, frozenMicros),
    varint(3, Math.round(frozenMicros / 4)),
    varint(4, Math.round(frozenMicros / 9)),
    varint(5, pages),
    varint(6, 0),
    varint(7, pages),
    varint(8, 0),
    varint(9, 0),
    varint(10, processes.length * 2),
    varint(11, processes.length * 2),
    varint(12, 0),
    varint(13, 0),
    varint(14, 0),
  )
  return Buffer.concat([words(SERVICE_MAGIC, MAGIC.stats), entry(message(bytes(1, dump)))])
}

function processImages(process: DumpedProcess, pagesId: number): ImageFile[] {
  const { pid } = process
  const memory = memoryOf(process)
  // Each process has tables of its own; the ids are small numbers allotted during the dump, none of them a pid.
  const tableId = pagesId + 1
  return [
    wholeFile(`core-${pid}.img`, image(MAGIC.core, coreEntry(process))),
    wholeFile(`ids-${pid}.img`, image(MAGIC.ids, idsEntry(tableId))),
    wholeFile(`mm-${pid}.img`, image(MAGIC.mm, mmEntry(memory))),
    wholeFile(
      `fs-${pid}.img`,
      image(MAGIC.fs, message(varint(1, ROOT_FILE_ID), varint(2, ROOT_FILE_ID), varint(3, 0o22))),
    ),
    wholeFile(`fdinfo-${tableId}.img`, image(MAGIC.fdinfo, ...[0, 1, 2].map(fdinfoEntry))),
    wholeFile(`pagemap-${pid}.img`, pagemapImage(memory, pagesId)),
    {
      name: `pages-${pagesId}.img`,
      sizeBytes: memory.pageCount * PAGE_BYTES,
      chunks: () => pageChunks(process, memory),
    },
  ]
}

interface Memory {
  readonly heapPages: number
  readonly pageCount: number
  readonly stackStart: bigint
  readonly stack: Buffer
  readonly argStart: bigint
  readonly argEnd: bigint
  readonly envEnd: bigint
}

/** The stack's end as the kernel lays it out: argv, environment, path of the program, eight zero bytes. */
function memoryOf(process: DumpedProcess): Memory {
  const argv = nulTerminated(process.argv)
  const env = nulTerminated(process.env)
  const tail = Buffer.concat([argv, env, nulTerminated(['/bin/busybox']), Buffer.alloc(8)])
  const stackPages = Math.ceil(tail.length / PAGE_BYTES) + 1
  const stack = Buffer.alloc(stackPages * PAGE_BYTES)
  tail.copy(stack, stack.length - tail.length)
  const argStart = STACK_END - BigInt(tail.length)
  const argEnd = argStart + BigInt(argv.length)
  const heapPages = Math.max(1, Math.ceil(process.memoryBytes / PAGE_BYTES))
  return {
    heapPages,
    pageCount: heapPages + stackPages,
    stackStart: STACK_END - BigInt(stack.length),
    stack,
    argStart,
    argEnd,
    envEnd: argEnd + BigInt(env.length),
  }
}

/** Bytes that do not compress, no two pages alike: each page begins with its number. */
function* pageChunks(process: DumpedProcess, memory: Memory): Iterable<Uint8Array> {
  const text = Buffer.from(process.memoryText).subarray(0, PAGE_BYTES - 8)
  for (let page = 0; page < memory.heapPages; page += CHUNK_PAGES) {
    const count = Math.min(CHUNK_PAGES, memory.heapPages - page)
    const chunk = Buffer.from(NOISE.subarray(0, count * PAGE_BYTES))
    for (let at = 0; at < count; at++) {
      chunk.writeUInt32LE(process.pid, at * PAGE_BYTES)
      chunk.writeUInt32LE(page + at, at * PAGE_BYTES + 4)
    }
    if (page === 0) text.copy(chunk, 8)
    yield chunk
  }
  yield memory.stack
}

const NOISE = noise(CHUNK_PAGES * PAGE_BYTES)

function noise(length: number): Buffer {
  const block = Buffer.alloc(length)
  let state = 0x9e3779b9
  for (let at = 0; at < length; at += 4) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    block.writeInt32LE(state, at)
  }
  return block
}

function pagemapImage(memory: Memory, pagesId: number): Buffer {
  const present = 4
  const run = (address: bigint, pages: number) =>
    message(varint(1, address), varint(2, 0), varint(4, present), varint(5, pages))
  return image(
    MAGIC.pagemap,
    message(varint(1, pagesId)),
    run(HEAP_START, memory.heapPages),
    run(memory.stackStart, memory.stack.length / PAGE_BYTES),
  )
}

function mmEntry(memory: Memory): Buffer {
  const heapEnd = HEAP_START + BigInt(memory.heapPages * PAGE_BYTES)
  const auxv = [6n, BigInt(PAGE_BYTES), 31n, memory.envEnd]
  const privateAnonymous = 0x22
  const growsDown = 0x100
  return message(
    varint(1, 0x400000),
    varint(2, 0x480000),
    varint(3, 0x480000),
    varint(4, 0x481000),
    varint(5, memory.argStart - 64n),
    varint(6, HEAP_START),
    varint(7, heapEnd),
    varint(8, memory.argStart),
    varint(9, memory.argEnd),
    varint(10, memory.argEnd),
    varint(11, memory.envEnd),
    varint(12, EXE_FILE_ID),
    ...auxv.map((value) => varint(13, value)),
    bytes(14, vmaEntry({ start: 0x400000n, end: 0x481000n, fileId: EXE_FILE_ID, prot: 5, flags: 0x2, status: 0x41 })),
    bytes(14, vmaEntry({ start: HEAP_START, end: heapEnd, prot: 3, flags: privateAnonymous, status: 0x221 })),
    bytes(
      14,
      vmaEntry({
        start: memory.stackStart,
        end: STACK_END,
        prot: 3,
        flags: privateAnonymous | growsDown,
        status: 0x201,
      }),
    ),
    bytes(
      14,
      vmaEntry({
        start: 0xffffffffff600000n,
        end: 0xffffffffff601000n,
        prot: 4,
        flags: privateAnonymous,
        status: 0x204,
      }),
    ),
    varint(15, 1),
  )
}

interface VmaFields {
  readonly start: bigint
  readonly end: bigint
  readonly fileId?: number
  readonly prot: number
  readonly flags: number
  readonly status: number
}

function vmaEntry(vma: VmaFields): Buffer {
  return message(
    varint(1, vma.start),
    varint(2, vma.end),
    varint(3, 0),
    varint(4, vma.fileId ?? 0),
    varint(5, vma.prot),
    varint(6, vma.flags),
    varint(7, vma.status),
    varint(8, 1), // zig-zag of -1: no file descriptor
    varint(10, 0),
  )
}

function inventoryImage(): Buffer {
  const rootIds = message(...[1, 1, 1, 1, 1, 2, 3, 4, 6, 7, 8, 5].map((id, index) => varint(index + 1, id)))
  const body = message(
    varint(1, 2),
    varint(2, 1),
    bytes(3, rootIds),
    varint(4, 1),
    varint(5, 1),
    varint(6, 0),
    varint(11, 0),
    bytes(12, message()),
    bytes(13, Buffer.from('5b1f0f5e-9d2c-4b8a-a7a1-0d6f0e3c9b11')),
  )
  // The one image without the common magic.
  return Buffer.concat([words(MAGIC.inventory), entry(body)])
}

function pstreeEntry({ pid, ppid }: DumpedProcess): Buffer {
  return message(varint(1, pid), varint(2, ppid), varint(3, 1), varint(4, 1), varint(5, pid))
}

function coreEntry(process: DumpedProcess): Buffer {
  const alive = 1
  const x86 = 1
  const comm = Buffer.from(process.comm).subarray(0, 15)
  const task = message(
    varint(1, alive),
    varint(2, 0),
    varint(3, 0),
    varint(4, 0x400000),
    varint(5, 0),
    bytes(6, comm),
    varint(13, 0xffffffff),
    varint(14, 0),
  )
  return message(varint(1, x86), bytes(2, x86ThreadInfo()), bytes(3, task), bytes(5, threadEntry(comm)))
}

function x86ThreadInfo(): Buffer {
  const sleepingIn = 230 // clock_nanosleep
  const registers: Record<number, number> = { 16: sleepingIn, 17: 0x460a61, 18: 0x33, 19: 0x202, 21: 0x2b }
  const gpregs = message(...Array.from({ length: 27 }, (_, index) => varint(index + 1, registers[index + 1] ?? 0)))
  const none = Array.from({ length: 7 }, (_, index) => varint(index + 1, 0))
  return message(varint(1, 0), bytes(2, gpregs), bytes(3, message(...none, varint(8, 0))))
}

function threadEntry(comm: Buffer): Buffer {
  const capabilities = [0xa80425fb, 0]
  const words64 = (field: number, values: readonly number[]) => values.map((value) => varint(field, value))
  const creds = message(
    ...Array.from({ length: 8 }, (_, index) => varint(index + 1, 0)),
    ...words64(9, [0, 0]),
    ...words64(10, capabilities),
    ...words64(11, capabilities),
    ...words64(12, capabilities),
    varint(13, 0),
    varint(14, 0),
  )
  return message(
    varint(1, 0),
    varint(2, 0),
    varint(3, 0),
    varint(4, 0),
    varint(5, 0),
    varint(6, 0),
    bytes(10, creds),
    bytes(13, comm),
  )
}

/** Pid, IPC and mount namespaces of its own, the rest shared with the host, as in a pod on the host's network. */
function idsEntry(tableId: number): Buffer {
  const ids = [tableId, tableId, tableId, tableId, 9, 2, 10, 4, 11, 7, 8, 5]
  return message(...ids.map((id, index) => varint(index + 1, id)))
}

function fdinfoEntry(fd: number): Buffer {
  const [regular, pipe] = [1, 2]
  return message(varint(1, NULL_FILE_ID + fd), varint(2, 0), varint(3, fd === 0 ? regular : pipe), varint(4, fd))
}

function filesImage(): Buffer {
  const owner = message(...[1, 2, 3, 4, 5].map((field) => varint(field, 0)))
  const regular = (id: number, name: string, mode: number) =>
    message(
      varint(1, 1),
      varint(2, id),
      bytes(
        3,
        message(
          varint(1, id),
          varint(2, 0),
          varint(3, 0),
          bytes(5, owner),
          bytes(6, Buffer.from(name)),
          varint(7, ROOT_MOUNT_ID * 2), // zig-zag
          varint(8, 0),
          varint(10, mode),
        ),
      ),
    )
  const writeEnd = (id: number, pipeId: number) =>
    message(
      varint(1, 2),
      varint(2, id),
      bytes(18, message(varint(1, id), varint(2, pipeId), varint(3, 1), bytes(4, owner))),
    )
  return image(
    MAGIC.files,
    regular(EXE_FILE_ID, '/bin/busybox', 0o100755),
    regular(ROOT_FILE_ID, '/', 0o40755),
    regular(NULL_FILE_ID, '/dev/null', 0o20666),
    writeEnd(NULL_FILE_ID + 1, 4001),
    writeEnd(NULL_FILE_ID + 2, 4002),
  )
}

function image(magic: number, ...messages: readonly Buffer[]): Buffer {
  return Buffer.concat([words(IMAGE_MAGIC, magic), ...messages.map(entry)])
}

function entry(body: Buffer): Buffer {
  return Buffer.concat([words(body.length), body])
}

function words(...values: readonly number[]): Buffer {
  const buffer = Buffer.alloc(values.length * 4)
  values.forEach((value, index) => buffer.writeUInt32LE(value, index * 4))
  return buffer
}

function message(...fields: readonly Buffer[]): Buffer {
  return Buffer.concat(fields)
}

function varint(field: number, value: number | bigint): Buffer {
  return Buffer.from([...varintBytes(BigInt(field << 3)), ...varintBytes(BigInt(value))])
}

function bytes(field: number, value: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from([...varintBytes(BigInt((field << 3) | 2)), ...varintBytes(BigInt(value.length))]),
    value,
  ])
}

function varintBytes(value: bigint): number[] {
  const out: number[] = []
  let rest = BigInt.asUintN(64, value)
  for (; rest > 0x7fn; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80)
  return [...out, Number(rest)]
}

function nulTerminated(texts: readonly string[]): Buffer {
  return Buffer.from(texts.map((text) => `${text}\0`).join(''))
}

function wholeFile(name: string, content: Buffer): ImageFile {
  return { name, sizeBytes: content.length, chunks: () => [content] }
}
