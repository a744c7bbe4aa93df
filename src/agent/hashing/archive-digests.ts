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
  /** Its row is another one now. */
  readonly onRow: (checkpoint: Checkpoint) => void
  /** The file is not the one that was asked for. */
  readonly onOtherFile: (rawName: Uint8Array) => void
  readonly logger: Logger
}

/** A file in one state of it. */
type FileKey = Pick<Checkpoint, 'id' | 'generation'>

/** Archives that are new wait for their digest until all are known, but no more of them than this: some megabytes. */
const HASHED_LATER = 20_000

/** These say nothing about the bytes, and may be otherwise in a minute. */
const PASSING: ReadonlySet<string> = new Set(['EACCES', 'EPERM', 'EMFILE', 'ENFILE', 'ENOMEM'])

/** Gives each whole archive its digest, and with it its last state. */
export class ArchiveDigests {
  readonly #options: ArchiveDigestsOptions
  readonly #queue = new HashQueue()
  /** Known to be whole, and not yet handed over: large ones are not in the way of the others. */
  readonly #waiting = {
    large: new HashBacklog((file) => this.#hash(file)),
    others: new HashBacklog((file) => this.#hash(file)),
  }
  readonly #expected = new Set<string>()
  /** Files of this run that could not be read to their end. */
  readonly #failed = new Set<string>()

  constructor(options: ArchiveDigestsOptions) {
    this.#options = options
  }

  /** The one under way included. */
  get length(): number {
    return this.#waiting.large.length + this.#waiting.others.length + this.#queue.length
  }

  /** Hashed after `startWaiting`, or when there are many. Asking for the same file again changes nothing. */
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

  /** A disk that fails is not asked for gigabytes again and again, but at the next start. */
  hasFailed(file: FileKey): boolean {
    return this.#failed.has(keyOf(file))
  }

  /** Reads an archive once more whose digest is known already. */
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
