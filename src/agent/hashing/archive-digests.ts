import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import type { Problem } from '../../checkpoint/problem.ts'
import type { Logger } from '../../shared/logger.ts'
import type { CheckpointStore } from '../../store/checkpoint-store.ts'
import { pathOf } from '../inventory/archive-file.ts'
import { HashBacklog, type UnhashedFile } from './hash-backlog.ts'
import { HashQueue, isLarge } from './hash-queue.ts'

export interface ArchiveDigestsOptions {
  readonly directory: string
  readonly store: CheckpointStore
  /** Called when the row of an archive has changed. */
  readonly onRow: (checkpoint: Checkpoint) => void
  /** Called if the file is not the expected one. */
  readonly onOtherFile: (rawName: Uint8Array) => void
  readonly logger: Logger
}

/** Key of one generation of a file. */
type FileKey = Pick<Checkpoint, 'id' | 'generation'>

/** Maximum number of new archives that wait for hashing until all are known. They take a few megabytes. */
const HASHED_LATER = 20_000

/** Errors that say nothing about the bytes and may soon disappear. */
const PASSING: ReadonlySet<string> = new Set(['EACCES', 'EPERM', 'EMFILE', 'ENFILE', 'ENOMEM'])

/** Computes the digest of each whole archive, which also completes its state. */
export class ArchiveDigests {
  readonly #options: ArchiveDigestsOptions
  readonly #queue = new HashQueue()
  /** Whole archives that are not handed over yet. Large ones have their own backlog and do not delay the others. */
  readonly #waiting = {
    large: new HashBacklog((file) => this.#hash(file)),
    others: new HashBacklog((file) => this.#hash(file)),
  }
  readonly #expected = new Set<string>()
  /** Files that could not be read to their end in this run. */
  readonly #failed = new Set<string>()

  constructor(options: ArchiveDigestsOptions) {
    this.#options = options
  }

  /** Number of archives without a digest, including the one being hashed. */
  get length(): number {
    return this.#waiting.large.length + this.#waiting.others.length + this.#queue.length
  }

  /**
   * Adds an archive. It is hashed after `startWaiting`, or once many are waiting. Adding the same file again has no
   * effect.
   */
  add({ id, rawName, generation }: Checkpoint): void {
    const file = { id, name: Buffer.from(rawName).toString('latin1'), generation }
    const key = keyOf(file)
    if (this.#expected.has(key)) return
    this.#expected.add(key)
    const waiting = isLarge(generation) ? this.#waiting.large : this.#waiting.others
    waiting.add(file)
    if (waiting.length >= HASHED_LATER) this.startWaiting()
  }

  startWaiting(): void {
    this.#waiting.large.release()
    this.#waiting.others.release()
  }

  isExpected(file: FileKey): boolean {
    return this.#expected.has(keyOf(file))
  }

  /**
   * Returns whether the file could not be read. Such a file is retried only at the next start, to spare a failing disk.
   */
  hasFailed(file: FileKey): boolean {
    return this.#failed.has(keyOf(file))
  }

  /** Hashes an archive again and compares the result with its known digest. */
  compare(checkpoint: Checkpoint, onOtherBytes: () => void): void {
    const { id, rawName, generation, sha256 } = checkpoint
    const { directory, logger, onOtherFile } = this.#options
    void this.#queue.hash({ path: pathOf(directory, rawName), generation }).then((answer) => {
      if (answer.kind === 'changed') onOtherFile(rawName)
      else if (answer.kind === 'failed') logger.error({ id, code: answer.code }, 'Cannot read an archive to its end')
      else if (answer.kind === 'done' && answer.sha256 !== sha256) onOtherBytes()
      return undefined
    })
  }

  close(): Promise<void> {
    return this.#queue.close()
  }

  async #hash(file: UnhashedFile): Promise<void> {
    const { id, name, generation } = file
    const rawName = Buffer.from(name, 'latin1')
    const { directory, store, logger, onRow, onOtherFile } = this.#options
    const answer = await this.#queue.hash({ path: pathOf(directory, rawName), generation })
    this.#expected.delete(keyOf(file))
    if (answer.kind === 'done') {
      if (store.setHash(id, generation, answer.sha256)) onRow(store.get(id))
    } else if (answer.kind === 'failed') {
      logger.error({ id, code: answer.code }, 'Cannot read an archive to its end')
      if (!PASSING.has(answer.code)) this.#failed.add(keyOf(file))
      const row = store.find(id)
      if (row?.generation !== generation) return
      const damaged = withReadFailure(row, answer.code)
      store.saveAll([damaged])
      onRow(damaged)
    } else if (answer.kind === 'changed') {
      onOtherFile(rawName)
    }
  }
}

function keyOf({ id, generation }: FileKey): string {
  return `${id} ${generation}`
}

function withReadFailure(checkpoint: Checkpoint, code: string): Checkpoint {
  const problem: Problem = {
    code: 'ReadFailed',
    weight: 'damage',
    detail: `the file cannot be read to its end (${code})`,
  }
  return { ...checkpoint, state: 'damaged', problems: [...checkpoint.problems, problem] }
}
