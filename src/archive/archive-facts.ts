import { type Problem, ProblemError, ProblemList } from '../checkpoint/problem.ts'
import { DUMP_LOG_HEAD_BYTES, MAX_IMAGE_BYTES, MAX_JSON_BYTES, MAX_NAMED_PROCESSES } from './archive-limits.ts'
import { archiveProblem, quoted } from './archive-problem.ts'
import type { ByteSource } from './byte-source.ts'
import type { Compression } from './compression.ts'
import { type ConfigDump, readConfigDump } from './config-dump.ts'
import { detectEngine, type Engine, type EngineHints } from './engine.ts'
import { type IdentityClaim, readIdentityClaim } from './identity-claim.ts'
import { type ImageClaim, readImageClaim } from './image-claim.ts'
import { type Instant, parseInstant } from './instant.ts'
import { plainText } from './plain-text.ts'
import { readSpecDump, type SpecDump } from './spec-dump.ts'
import { readInternalStatus, readStatusDump, type StatusDump } from './status-dump.ts'
import type { TarEnd, TarMember, TarVisitor } from './tar-members.ts'
import { walkArchive } from './walk-archive.ts'

/**
 * What an archive is. `container`: one container, as the kubelet's API writes it. `pod`: a whole pod, which no settled
 * format exists for. `criu-images`: CRIU's own folder without an engine's metadata. `oci-image`: a checkpoint as an image.
 */
export type ArchiveKind = 'container' | 'pod' | 'criu-images' | 'oci-image' | 'unknown'

/** Everything that an archive tells about itself without a look into the images; all of it is its word alone. */
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
  /** `engine`: it wrote the time down. `member`: taken from the age of a member, in whole seconds. */
  readonly takenAtSource?: 'engine' | 'member'
  /** All files of the checkpoint folder. */
  readonly checkpointBytes: number
  /** Its memory pages, the largest part. */
  readonly memoryBytes: number
  /** Pages of graphics cards. */
  readonly deviceMemoryBytes: number
  /** As stored: gzip in containerd, plain in the others. Absent where nothing was changed. */
  readonly rootfsDiffBytes?: number
  readonly end: TarEnd
  readonly problems: ProblemList
  /** The small images and logs that a summary needs, by name without folder; of `dump.log` the beginning. */
  readonly images: ReadonlyMap<string, Buffer>
  /** Numbers of the processes that have a memory image. */
  readonly imageProcesses: readonly number[]
}

/** Reads an archive once, from front to back. Bad input becomes problems; only reading itself can throw. */
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
  #internalStatus: Pick<StatusDump, 'createdAt' | 'startedAt'> | undefined
  #checkpointBytes = 0
  #memoryBytes = 0
  #deviceMemoryBytes = 0
  #rawImageBytes = 0
  #rawMemoryBytes = 0
  #rootfsDiffBytes: number | undefined
  #memberTime: Instant | undefined
  #hasCheckpointFolder = false
  #hasPreCheckpoint = false
  #hasRawInventory = false
  #isPod = false
  #isOciImage = false

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
      // A folder of its own comes before images of the same name that lie elsewhere.
      if (name.startsWith('checkpoint/') || !this.#images.has(key)) this.#images.set(key, Buffer.from(content))
      return
    }
    try {
      this.#readJson(name as JsonMember, content)
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error
      this.onProblem(error.problem)
    }
  }

  onPassed = (member: TarMember): void => {
    if (member.type !== 'file') return
    const { name, sizeBytes } = member
    if (name.startsWith('checkpoint/')) {
      this.#hasCheckpointFolder = true
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
    const kind = this.#kind(isWhole)
    this.#judgeKind(kind, isWhole)
    const isRaw = kind === 'criu-images' && !this.#hasCheckpointFolder
    const engine = detectEngine(this.#spec, this.#hints)
    const dumps = { config: this.#config, spec: this.#spec, status: this.#status }
    const runtime = this.#config?.runtime ?? this.#spec?.annotations.get('io.kubernetes.cri-o.RuntimeHandler')
    const createdAt = this.#createdAt()
    const startedAt = this.#status?.startedAt ?? this.#internalStatus?.startedAt
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

  #noteFolder(name: string): void {
    if (name === 'checkpoint') this.#hasCheckpointFolder = true
    else if (name === 'pre-checkpoint') this.#hasPreCheckpoint = true
    else if (name === 'artifacts' || name === 'volumes') this.#hints.hasPodmanMember = true
  }

  /** Members that say who wrote the archive, or that it is none of one container. */
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
        this.#isPod = true
        break
      case 'oci-layout':
        this.#isOciImage = true
        break
      default:
        if (name.startsWith('volumes/')) this.#hints.hasPodmanMember = true
        else if (name.startsWith('pre-checkpoint/')) this.#hasPreCheckpoint = true
        if (name.endsWith('inventory.img') && RAW_IMAGE.test(name)) this.#hasRawInventory = true
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

  /** All of it, once; the second member of a name was reported by the walk. */
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
        this.#internalStatus = readInternalStatus(content)
        break
    }
  }

  #createdAt(): Instant | undefined {
    const told = this.#config?.createdAt ?? this.#status?.createdAt ?? this.#internalStatus?.createdAt
    if (told !== undefined) return told
    const annotation = parseInstant(this.#spec?.annotations.get('io.kubernetes.cri-o.Created') ?? '')
    return annotation === 'unset' ? undefined : annotation
  }

  #kind(isWhole: boolean): ArchiveKind {
    const hasMetadata = this.#taken.has('config.dump') || this.#taken.has('spec.dump')
    if (this.#isPod) return 'pod'
    if (hasMetadata) return 'container'
    if (this.#isOciImage) return 'oci-image'
    // In containerd and CRI-O the images come before the metadata, which may lie behind a cut.
    if (this.#hasCheckpointFolder && !isWhole) return 'container'
    if (this.#hasRawInventory || this.#images.has('inventory.img')) return 'criu-images'
    return this.#hasCheckpointFolder ? 'container' : 'unknown'
  }

  /** What is missing is worth a word only where nothing was cut off. */
  #judgeKind(kind: ArchiveKind, isWhole: boolean): void {
    const report = (problem: Problem) => (isWhole || problem.weight === 'note') && this.#problems.add(problem)
    if (kind === 'unknown') report(archiveProblem('NotACheckpoint', 'it holds nothing of a checkpoint'))
    if (kind === 'oci-image') report(archiveProblem('OciImage', 'it is an OCI image, not an archive of the kubelet'))
    if (kind === 'pod') {
      report(archiveProblem('PodCheckpoint', 'it is the checkpoint of a whole pod; what is inside is not read'))
    }
    if (kind === 'criu-images' && isWhole) {
      report(archiveProblem('RawCriuImages', 'it is a folder of CRIU images without the metadata of an engine'))
    }
    if (kind !== 'container') return
    if (!this.#taken.has('config.dump')) report(archiveProblem('NoConfigDump', 'config.dump is missing'))
    if (!this.#taken.has('spec.dump')) report(archiveProblem('NoSpecDump', 'spec.dump is missing'))
    if (this.#hasCheckpointFolder) return
    if (this.#hasPreCheckpoint) {
      report(
        archiveProblem('PreCheckpoint', 'it is the first part of a checkpoint in two steps: memory, not yet stopped'),
      )
    } else report(archiveProblem('NoCheckpointImages', 'the checkpoint folder is missing'))
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
/** In the folder of CRIU images that someone packed, at any level. */
const RAW_IMAGE = /(?:^|\/)(?:inventory|pstree)\.img$/
const RAW_PAGES = /(?:^|\/)pages-\d+\.img$/

function timeOf(member: TarMember): Instant {
  return BigInt(member.modifiedSeconds) * 1_000_000_000n + BigInt(member.modifiedNanos)
}
