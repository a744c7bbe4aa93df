import type { CustodyEntry } from '../../custody/custody-entry.ts'
import { captureFacts, type CaptureFacts } from './capture-facts.ts'

/** Facts that the custody log holds about one archive. */
interface KnownArchive {
  readonly fileName: string
  readonly sizeBytes?: number
  /** First digest. A later one does not replace it. */
  readonly sha256?: string
  /** Time at which the digest was recorded, in milliseconds. */
  readonly digestAt?: number
  readonly capture?: CaptureFacts
  /** Whether this agent has removed the archive or is about to. */
  readonly isRemoved?: boolean
  /** Last generation of the file that was reported as tampered. */
  readonly wrongGeneration?: string
}

/** Maximum number of archives, newest first. An older archive is treated as discovered. */
const MAX_KNOWN = 50_000

/**
 * Indexes archives by the entries about them. The entries are read from the log at the start, and each new one is
 * added.
 */
export class KnownArchives {
  readonly #byId = new Map<string, KnownArchive>()

  get ids(): readonly string[] {
    return [...this.#byId].filter(([, { isRemoved }]) => isRemoved !== true).map(([id]) => id)
  }

  find(id: string): KnownArchive | undefined {
    return this.#byId.get(id)
  }

  /** Returns the capture that created this file. */
  findCapture(file: {
    readonly checkpointId: string
    readonly inode: number
    readonly sizeBytes: number
  }): CaptureFacts | undefined {
    const known = this.#byId.get(file.checkpointId)
    const isSame = known?.capture?.inode === file.inode && known.sizeBytes === file.sizeBytes
    return isSame ? known.capture : undefined
  }

  apply({ action, outcome, checkpoint, detail, time }: CustodyEntry): void {
    if (checkpoint === undefined) return
    const { id, fileName, sizeBytes, sha256 } = checkpoint
    const known = this.#byId.get(id)
    if (action === 'capture' && outcome === 'done') {
      const capture = captureFacts(detail)
      this.#set(id, {
        ...(known?.capture === undefined && known),
        fileName,
        ...(sizeBytes !== undefined && { sizeBytes }),
        ...(capture !== undefined && { capture }),
      })
    } else if (action === 'discovery') {
      this.#set(id, { ...known, fileName, isRemoved: false })
    } else if (action === 'digest' && sha256 !== undefined) {
      this.#set(id, { ...known, fileName, sha256, digestAt: Date.parse(time) })
    } else if (action === 'delete' || action === 'prune') {
      if (outcome === 'done') this.#byId.delete(id)
      else if (known !== undefined) this.#set(id, { ...known, isRemoved: outcome === 'intended' })
    } else if (action === 'tampering') {
      if (detail?.['problem'] === 'Gone') this.#byId.delete(id)
      else if (known !== undefined && typeof detail?.['generation'] === 'string') {
        this.#set(id, { ...known, wrongGeneration: detail['generation'] })
      }
    }
  }

  #set(id: string, known: KnownArchive): void {
    this.#byId.set(id, known)
    if (this.#byId.size <= MAX_KNOWN) return
    const [oldest] = this.#byId.keys()
    if (oldest !== undefined) this.#byId.delete(oldest)
  }
}
