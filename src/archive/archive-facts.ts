import { type Problem, ProblemError, ProblemList } from '../checkpoint/problem.ts'
import { DUMP_LOG_HEAD_BYTES, MAX_IMAGE_BYTES, MAX_JSON_BYTES, MAX_NAMED_PROCESSES } from './archive-limits.ts'
import { type ArchiveKind, detectKind, findMissing, type KindSigns } from './archive-kind.ts'
import { archiveProblem, quoted } from './archive-problem.ts'
import type { ByteSource } from '../streams/byte-source.ts'
import type { Compression } from './compression.ts'
import { type ConfigDump, readConfigDump } from './config-dump.ts'
import type { Engine } from '../checkpoint/engine.ts'
import { detectEngine, type EngineHints } from './engine.ts'
import { type IdentityClaim, readIdentityClaim } from './identity-claim.ts'
import { type ImageClaim, readImageClaim } from './image-claim.ts'
import { type Instant, parseInstant } from './instant.ts'
import { plainText } from './plain-text.ts'
import { readSpecDump, type SpecDump } from './spec-dump.ts'
import { readInternalStatus, readStatusDump, type StatusDump } from './status-dump.ts'
import type { TarMember } from './tar-member.ts'
import type { TarEnd, TarVisitor } from './tar-members.ts'
import { walkArchive } from './walk-archive.ts'

/**
 * Facts that an archive states about itself, without parsing its images. None of them is verified.
 */
export interface ArchiveFacts {
  readonly kind: ArchiveKind
  readonly compression: Compression
  readonly engine: Engine
  readonly claim: IdentityClaim
  readonly image: ImageClaim
  readonly runtime?: string
  readonly createdAt?: Instant
  readonly startedAt?: Instant
  readonly takenAt?: Instant
  /**
   * `engine`: recorded by the engine. `member`: derived from the modification time of a member, in
   * whole seconds.
   */
  readonly takenAtSource?: 'engine' | 'member'
  /** Total size of the files in the checkpoint directory. */
  readonly checkpointBytes: number
  /** Size of the memory pages, the largest part. */
  readonly memoryBytes: number
  /** Size of the pages of graphics cards. */
  readonly deviceMemoryBytes: number
  /**
   * Size as stored: gzip in containerd, uncompressed in other engines. Absent if the root file
   * system is unchanged.
   */
  readonly rootfsDiffBytes?: number
  readonly end: TarEnd
  readonly problems: ProblemList
  /**
   * Small images and logs for a summary, by name without directory; only the beginning of
   * `dump.log`.
   */
  readonly images: ReadonlyMap<string, Buffer>
  /** Ids of the processes that have a memory image. */
  readonly imageProcesses: readonly number[]
}

/**
 * Reads an archive once, from front to back. Defects become problems; throws only if the source is
 * not readable.
 */
export async function readArchiveFacts(source: ByteSource, signal?: AbortSignal): Promise<ArchiveFacts> {
  const collector = new FactsCollector()
  const { end, compression } = await walkArchive(source, collector, signal)
  return collector.facts(end, compression)
}

type JsonMember = 'config.dump' | 'spec.dump' | 'status.dump' | 'status'

class FactsCollector implements TarVisitor {
  readonly #problems = new ProblemList()
  readonly #images = new Map<string, Buffer>()
  readonly #imageProcesses: number[] = []
  readonly #taken = new Set<string>()
  readonly #hints: EngineHints = { hasContainerdMember: false, hasCrioMember: false, hasPodmanMember: false }
  #config: ConfigDump | undefined
  #spec: SpecDump | undefined
  #status: StatusDump | undefined
  #internalStatusBytes: Buffer | undefined
  #checkpointBytes = 0
  #memoryBytes = 0
  #deviceMemoryBytes = 0
  #rawImageBytes = 0
  #rawMemoryBytes = 0
  #rootfsDiffBytes: number | undefined
  #memberTime: Instant | undefined
  readonly #signs = { hasCheckpointFolder: false, hasPreCheckpoint: false, hasPodManifest: false, hasOciLayout: false }

  onProblem = (problem: Problem): void => this.#problems.add(problem)

  onMember = (member: TarMember): number => {
    const { name, type } = member
    if (type === 'directory') {
      this.#noteFolder(name)
      return 0
    }
    if (type !== 'file') {
      if (name in JSON_READERS || SMALL_IMAGES.has(name)) {
        this.onProblem(archiveProblem('NotAFile', `${quoted(name)} is a ${type}`))
      }
      return 0
    }
    if (name.startsWith('checkpoint/')) return this.#wishForImage(member)
    this.#noteFile(name)
    if (name in JSON_READERS) return this.#wish(member, MAX_JSON_BYTES, 'JsonTooLarge')
    if (name === 'stats-dump') return this.#wish(member, MAX_IMAGE_BYTES, 'ImageTooLarge')
    if (name === 'dump.log') return this.#taken.has(name) ? 0 : DUMP_LOG_HEAD_BYTES
    return RAW_IMAGE.test(name) ? this.#wish(member, MAX_IMAGE_BYTES, 'ImageTooLarge') : 0
  }

  onContent = (member: TarMember, content: Buffer): void => {
    const { name } = member
    this.#taken.add(name)
    if (!(name in JSON_READERS)) {
      const key = name.slice(name.lastIndexOf('/') + 1)
      // The checkpoint directory takes precedence over images with the same name elsewhere.
      if (name.startsWith('checkpoint/') || !this.#images.has(key)) this.#images.set(key, Buffer.from(content))
      return
    }
    this.#attempt(() => this.#readJson(name as JsonMember, content))
  }

  onPassed = (member: TarMember): void => {
    if (member.type !== 'file') return
    const { name, sizeBytes } = member
    if (name.startsWith('checkpoint/')) {
      this.#signs.hasCheckpointFolder = true
      this.#checkpointBytes += sizeBytes
      if (name.startsWith('checkpoint/pages-')) this.#memoryBytes += sizeBytes
      else if (name.startsWith('checkpoint/amdgpu-pages-')) this.#deviceMemoryBytes += sizeBytes
      else if (name === 'checkpoint/inventory.img') this.#memberTime ??= timeOf(member)
    } else if (name === 'rootfs-diff.tar') {
      this.#rootfsDiffBytes ??= sizeBytes
    } else if (name === 'stats-dump') {
      this.#memberTime = timeOf(member)
    } else if (name.endsWith('.img')) {
      this.#rawImageBytes += sizeBytes
      if (RAW_PAGES.test(name)) this.#rawMemoryBytes += sizeBytes
    }
  }

  facts(end: TarEnd, compression: Compression): ArchiveFacts {
    const isWhole = end.endOffset !== undefined
    const kind = this.#judgeKind(isWhole)
    const isRaw = kind === 'criu-images' && !this.#signs.hasCheckpointFolder
    if (this.#status === undefined) this.#readInternalStatus()
    const engine = detectEngine(this.#spec, this.#hints)
    const dumps = { config: this.#config, spec: this.#spec, status: this.#status }
    const runtime = this.#config?.runtime ?? this.#spec?.annotations.get('io.kubernetes.cri-o.RuntimeHandler')
    const createdAt = this.#createdAt()
    const startedAt = this.#status?.startedAt
    const takenAt = this.#config?.checkpointedAt ?? this.#memberTime
    return {
      kind,
      compression,
      engine,
      claim: readIdentityClaim(engine, dumps, this.onProblem),
      image: readImageClaim(engine, dumps),
      ...(runtime !== undefined && { runtime: plainText(runtime) }),
      ...(createdAt !== undefined && { createdAt }),
      ...(startedAt !== undefined && { startedAt }),
      ...(takenAt !== undefined && {
        takenAt,
        takenAtSource: this.#config?.checkpointedAt === undefined ? 'member' : 'engine',
      }),
      checkpointBytes: isRaw ? this.#rawImageBytes : this.#checkpointBytes,
      memoryBytes: isRaw ? this.#rawMemoryBytes : this.#memoryBytes,
      deviceMemoryBytes: this.#deviceMemoryBytes,
      ...(this.#rootfsDiffBytes !== undefined && { rootfsDiffBytes: this.#rootfsDiffBytes }),
      end,
      problems: this.#problems,
      images: this.#images,
      imageProcesses: this.#imageProcesses,
    }
  }

  #judgeKind(isWhole: boolean): ArchiveKind {
    const signs: KindSigns = {
      ...this.#signs,
      isWhole,
      hasConfig: this.#taken.has('config.dump'),
      hasSpec: this.#taken.has('spec.dump'),
      hasInventory: this.#images.has('inventory.img'),
    }
    const kind = detectKind(signs)
    for (const problem of findMissing(kind, signs)) this.#problems.add(problem)
    return kind
  }

  #noteFolder(name: string): void {
    if (name === 'checkpoint') this.#signs.hasCheckpointFolder = true
    else if (name === 'pre-checkpoint') this.#signs.hasPreCheckpoint = true
    else if (name === 'artifacts' || name === 'volumes') this.#hints.hasPodmanMember = true
  }

  /** Notes members that identify the engine, or show that the archive is not one container. */
  #noteFile(name: string): void {
    switch (name) {
      case 'status':
      case 'status.dump':
        this.#hints.hasContainerdMember = true
        break
      case 'bind.mounts':
      case 'io.kubernetes.cri-o.LogPath':
        this.#hints.hasCrioMember = true
        break
      case 'network.status':
      case 'devshm-checkpoint.tar':
        this.#hints.hasPodmanMember = true
        break
      case 'pod.options':
      case 'checkpoint-manifest.json':
        this.#signs.hasPodManifest = true
        break
      case 'oci-layout':
        this.#signs.hasOciLayout = true
        break
      default:
        if (name.startsWith('volumes/')) this.#hints.hasPodmanMember = true
        else if (name.startsWith('pre-checkpoint/')) this.#signs.hasPreCheckpoint = true
    }
  }

  #wishForImage(member: TarMember): number {
    const { name } = member
    if (SMALL_IMAGES.has(name)) return this.#wish(member, MAX_IMAGE_BYTES, 'ImageTooLarge')
    if (name.startsWith('checkpoint/mm-') && this.#imageProcesses.length < MAX_NAMED_PROCESSES) {
      const pid = MEMORY_IMAGE.exec(name)?.[1]
      if (pid !== undefined) this.#imageProcesses.push(Number(pid))
    }
    return 0
  }

  /**
   * Requests the whole content of a member, once. The walk has already reported a second member
   * with the same name.
   */
  #wish(member: TarMember, limit: number, code: 'JsonTooLarge' | 'ImageTooLarge'): number {
    if (this.#taken.has(member.name)) return 0
    if (member.sizeBytes <= limit) return limit
    this.onProblem(archiveProblem(code, `${quoted(member.name)} has ${member.sizeBytes} bytes`))
    return 0
  }

  #readJson(name: JsonMember, content: Buffer): void {
    switch (name) {
      case 'config.dump':
        this.#config = readConfigDump(content)
        if (this.#config.isLibpod) this.#hints.hasPodmanMember = true
        break
      case 'spec.dump':
        this.#spec = readSpecDump(content)
        break
      case 'status.dump':
        this.#status = readStatusDump(content)
        break
      case 'status':
        // Precedes status.dump, which contains the same.
        this.#internalStatusBytes = Buffer.from(content)
        break
    }
  }

  #readInternalStatus(): void {
    const bytes = this.#internalStatusBytes
    if (bytes !== undefined) this.#attempt(() => (this.#status = readInternalStatus(bytes)))
  }

  #attempt(read: () => void): void {
    try {
      read()
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error
      this.onProblem(error.problem)
    }
  }

  #createdAt(): Instant | undefined {
    const told = this.#config?.createdAt ?? this.#status?.createdAt
    if (told !== undefined) return told
    const annotation = parseInstant(this.#spec?.annotations.get('io.kubernetes.cri-o.Created') ?? '')
    return annotation === 'unset' ? undefined : annotation
  }
}

const JSON_READERS: Readonly<Record<JsonMember, true>> = Object.assign(Object.create(null), {
  'config.dump': true,
  'spec.dump': true,
  'status.dump': true,
  status: true,
})

const SMALL_IMAGES: ReadonlySet<string> = new Set(['checkpoint/inventory.img', 'checkpoint/pstree.img'])
const MEMORY_IMAGE = /^checkpoint\/mm-([1-9]\d{0,9})\.img$/
/** Images in an archived directory of CRIU images, at any depth. */
const RAW_IMAGE = /(?:^|\/)(?:inventory|pstree)\.img$/
const RAW_PAGES = /(?:^|\/)pages-\d+\.img$/

function timeOf(member: TarMember): Instant {
  return BigInt(member.modifiedSeconds) * 1_000_000_000n + BigInt(member.modifiedNanos)
}
