import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import {
  AGENT_ACTOR,
  type CustodyCheckpoint,
  type CustodyDraft,
  type CustodyEntry,
} from '../../custody/custody-entry.ts'
import { CustodyLog, type CustodyLogState } from '../../custody/custody-log.ts'
import { exportCustody, readCustodyPage, type CustodyPage } from '../../custody/custody-page.ts'
import { cannotWrite } from '../../custody/log-failure.ts'
import { judgeLine, readLines, segmentPath, segmentsAmong } from '../../custody/custody-segments.ts'
import { verifyCustody, type CustodyReport } from '../../custody/custody-verify.ts'
import type { ChainEnd } from '../../custody/custody-entry.ts'
import type { DsseEnvelope } from '../../custody/dsse.ts'
import { nodeDisk, type CustodyDisk } from '../../custody/custody-disk.ts'
import { loadSigningKey, type SigningKey } from '../../custody/signing-key.ts'
import type { CustodyServices } from '../../http/custody-services.ts'
import type { Clock } from '../../shared/clock.ts'
import { errorText } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'
import type { ActionEntry } from '../actions/checkpoint-actions.ts'
import type { CaptureFacts } from './capture-facts.ts'
import { KnownArchives } from './known-archives.ts'
import { LeavingFiles } from './leaving-files.ts'
import { readNodeFacts } from './node-facts.ts'
import { endOfOpenContent, readOpenContents, type OpenContent } from './open-contents.ts'
import { OpenRemovals, type OpenRemoval } from './open-removals.ts'

export interface CustodyOptions {
  readonly stateDirectory: string
  readonly node: string
  readonly agentVersion: string
  readonly maxBytes: number
  readonly clock: Clock
  readonly logger: Logger
  readonly disk?: CustodyDisk
}

/** Longest wait for a note, so that a disk that hangs does not hold up the noted action. */
const NOTE_WITHIN_MS = 10_000

/** Records everything that happens to an archive and the user who requested it. */
export class Custody implements Omit<CustodyServices, 'manifest'> {
  readonly key: SigningKey
  readonly #options: CustodyOptions
  readonly #log: CustodyLog
  readonly #known = new KnownArchives()
  readonly #leaving = new LeavingFiles()
  /** Files whose tampering is being recorded. */
  readonly #reporting = new Set<string>()
  /** Captures whose archive may be seen before their entry is written. */
  readonly #own = new Set<string>()
  /** Resolves once the end of the log is known. Before that, the log would seem empty. */
  readonly #wasOpened = Promise.withResolvers<void>()
  /** Resolves once the entries of earlier runs have been read. */
  readonly #wasRead = Promise.withResolvers<void>()
  /** Resolves once this run's start is recorded, and the end of contents that earlier runs left open. */
  readonly #wasStarted = Promise.withResolvers<void>()
  /** Verifications under way, by the head that they compare with. */
  readonly #verifying = new Map<string, Promise<CustodyReport>>()
  /** Removals that earlier runs left open. */
  #interrupted: readonly OpenRemoval[] = []
  /** Contents that earlier runs announced without recording their end. */
  #openContents: readonly OpenContent[] = []
  /** Entries of this run, collected until those of earlier runs have been read. */
  #early: CustodyEntry[] | undefined = []

  /**
   * Opens the signing key in `state.directory`, which must exist. Throws UnavailableError if the key cannot be used.
   */
  constructor(options: CustodyOptions) {
    const { stateDirectory, node, maxBytes, clock, logger, disk } = options
    this.#options = options
    this.key = loadSigningKey(join(stateDirectory, 'custody-key.pem'))
    this.#log = new CustodyLog({
      folder: join(stateDirectory, 'custody'),
      node,
      key: this.key,
      clock,
      logger,
      maxBytes,
      ...(disk !== undefined && { disk }),
      onEntry: (entry) => {
        if (entry.action === 'capture' && entry.checkpoint !== undefined) this.#own.delete(entry.checkpoint.id)
        this.#leaving.apply(entry)
        if (this.#early === undefined) this.#known.apply(entry)
        else this.#early.push(entry)
      },
    })
  }

  get state(): CustodyLogState {
    return this.#log.state
  }

  /**
   * Opens the log and reads its entries about archives. Never rejects: a log that cannot be written reports that in its
   * state.
   */
  async start(): Promise<void> {
    const { agentVersion, logger } = this.#options
    await this.#log.start()
    this.#wasOpened.resolve()
    await this.#readKnown().catch((error: unknown) => {
      logger.error({ error: errorText(error) }, 'Cannot read the custody log')
    })
    this.#wasRead.resolve()
    if (!this.key.isNew && this.#log.end?.seq === 0) {
      logger.error({ keyId: this.key.id }, 'The custody log is empty, and its key is not new: it was removed')
      await this.note({
        actor: AGENT_ACTOR,
        action: 'tampering',
        detail: { what: 'custody-log', problem: 'LogGone' },
        outcome: 'done',
      })
    }
    // Recorded before the start entry, because the next run searches for open contents only after that entry.
    await this.noteAll(this.#openContents.map(endOfOpenContent))
    this.#openContents = []
    const detail = { version: agentVersion, keyId: this.key.id, ...readNodeFacts() }
    await this.note({ actor: AGENT_ACTOR, action: 'agent.start', detail, outcome: 'done' })
    this.#wasStarted.resolve()
  }

  async stop(): Promise<void> {
    await this.note({ actor: AGENT_ACTOR, action: 'agent.stop', outcome: 'done' })
    await this.#log.close()
  }

  /**
   * Resolves once the entry is on disk. Throws UnavailableError (`CustodyUnavailable`), in which case the action must
   * not be performed.
   */
  async record(draft: CustodyDraft): Promise<CustodyEntry> {
    return await this.#log.append(draft, 'open')
  }

  /** Records content that is about to be sent, after the start entry of this run. */
  async recordContent(draft: CustodyDraft): Promise<CustodyEntry> {
    await this.#wasStarted.promise
    return await this.record(draft)
  }

  /**
   * Records several planned removals with one wait for the disk. If it throws, some of them may be on disk
   * nevertheless.
   */
  async recordRemovals(drafts: readonly CustodyDraft[]): Promise<void> {
    // Waits for the entries of earlier runs. Otherwise an archive removed by the agent would be reported as removed by
    // another program.
    await this.#wasRead.promise
    const isOurs = drafts.every(({ actor }) => actor === AGENT_ACTOR)
    await this.#log.appendAll(drafts, isOurs ? 'always' : 'reserve')
  }

  /**
   * Records what has happened, or happens whether or not it can be recorded. Evidence is worth more than its entry.
   * Resolves once the entry is on disk or queued until the disk works again, and at the latest after `NOTE_WITHIN_MS`.
   */
  async note(draft: CustodyDraft): Promise<void> {
    await this.noteAll([draft])
  }

  async noteAll(drafts: readonly CustodyDraft[]): Promise<void> {
    const over = new AbortController()
    const limit = sleep(NOTE_WITHIN_MS, undefined, { signal: over.signal, ref: false }).catch(() => undefined)
    await Promise.race([this.#log.appendAllOwed(drafts), limit])
    over.abort()
  }

  /** Records a user's action on an archive. An outcome is noted in any case, but an intent must be recorded. */
  async recordAction({ actor, action, checkpoint, outcome, detail }: ActionEntry): Promise<void> {
    const draft = {
      actor,
      action,
      checkpoint: custodyCheckpoint(checkpoint),
      outcome,
      ...(detail !== undefined && { detail }),
    }
    if (action === 'tampering') {
      await this.#reportOnce(checkpoint, draft)
      return
    }
    const hasHappened = outcome === 'failed' || (action === 'delete' && outcome === 'done')
    if (hasHappened) await this.note(draft)
    else if (action === 'delete') await this.recordRemovals([draft])
    else await this.record(draft)
  }

  /**
   * Records tampering with this generation of a file once, even if several callers and checks find it at the same time.
   */
  async #reportOnce(checkpoint: Checkpoint, draft: CustodyDraft): Promise<void> {
    if (this.#isReported(checkpoint)) return
    const file = reportKey(checkpoint)
    this.#reporting.add(file)
    await this.note(draft).finally(() => this.#reporting.delete(file))
  }

  #isReported(checkpoint: Checkpoint): boolean {
    const { id, generation } = checkpoint
    return this.#known.find(id)?.wrongGeneration === generation || this.#reporting.has(reportKey(checkpoint))
  }

  /** Announces an archive of this agent that is about to appear under its name. */
  expectOwn(checkpointId: string): void {
    this.#own.add(checkpointId)
  }

  /** Records an archive that the inventory sees for the first time. */
  async discovered(checkpoint: Checkpoint): Promise<void> {
    if (this.#leaving.has(checkpoint)) return
    const known = this.#known.find(checkpoint.id)
    if (this.#own.has(checkpoint.id) || (known !== undefined && known.isRemoved !== true)) return
    const { identity, engine, generation, state } = checkpoint
    const detail = { identity: identityOnRecord(identity), engine, generation, state }
    await this.note({
      actor: AGENT_ACTOR,
      action: 'discovery',
      checkpoint: custodyCheckpoint(checkpoint),
      detail,
      outcome: 'done',
    })
  }

  /**
   * Compares a rechecked archive with the log. A digest other than the recorded one is tampering. So is a missing
   * digest if the log has one and the archive is no longer whole.
   */
  async looked(checkpoint: Checkpoint): Promise<void> {
    if (this.#leaving.has(checkpoint)) return
    const { id, state, sha256, generation } = checkpoint
    const known = this.#known.find(id)
    const isBroken = state === 'damaged' || state === 'incomplete'
    if (known?.sha256 === sha256 || this.#isReported(checkpoint)) return
    if (sha256 === undefined && !isBroken) return
    const about = { actor: AGENT_ACTOR, checkpoint: custodyCheckpoint(checkpoint), outcome: 'done' } as const
    if (known?.sha256 === undefined) {
      if (sha256 === undefined) return
      if (known === undefined) await this.discovered(checkpoint)
      if (this.#leaving.has(checkpoint)) return
      await this.note({ ...about, action: 'digest', detail: { generation } })
      return
    }
    const problem = sha256 === undefined ? 'NotWhole' : 'DigestChanged'
    const detail = { problem, recordedSha256: known.sha256, sha256, state, generation }
    this.#options.logger.error({ id, fileName: checkpoint.fileName, ...detail }, 'An archive was changed')
    await this.#reportOnce(checkpoint, { ...about, action: 'tampering', detail })
  }

  /** Records that an archive is missing from the inventory. */
  async gone(id: string): Promise<void> {
    const known = this.#known.find(id)
    if (known === undefined || known.isRemoved === true) return
    const { fileName, sizeBytes, sha256 } = known
    this.#options.logger.error({ id, fileName }, 'An archive is gone, and this agent did not remove it')
    await this.note({
      actor: AGENT_ACTOR,
      action: 'tampering',
      checkpoint: {
        id,
        fileName,
        ...(sizeBytes !== undefined && { sizeBytes }),
        ...(sha256 !== undefined && { sha256 }),
      },
      detail: { problem: 'Gone' },
      outcome: 'done',
    })
  }

  /** Reports every archive in the log that no longer exists, which was removed while the agent was not running. */
  async missing(isThere: (id: string) => boolean): Promise<void> {
    for (const id of this.#known.ids) if (!isThere(id)) await this.gone(id)
  }

  /** Records that the agent removed other users' permissions on an archive. */
  async permissionRepaired(
    checkpoint: CustodyCheckpoint,
    detail: { readonly from: string; readonly to: string },
  ): Promise<void> {
    await this.note({ actor: AGENT_ACTOR, action: 'permission-repair', checkpoint, detail, outcome: 'done' })
  }

  findObservedCapture(file: {
    readonly checkpointId: string
    readonly inode: number
    readonly sizeBytes: number
  }): CaptureFacts | undefined {
    return this.#known.findCapture(file)
  }

  /** Returns whether the log says that this agent took the archive, even if the file is gone. */
  knowsCaptureOf(checkpointId: string): boolean {
    return this.#own.has(checkpointId) || this.#known.find(checkpointId)?.capture !== undefined
  }

  /** Removals that an earlier run announced without recording their end. */
  get interruptedRemovals(): readonly OpenRemoval[] {
    return this.#interrupted
  }

  findRecordedSha256({ id }: { readonly id: string }): string | undefined {
    return this.#known.find(id)?.sha256
  }

  /**
   * Returns the time at which the digest was recorded, in milliseconds. A file that changed later may have other bytes.
   */
  findDigestTime(id: string): number | undefined {
    return this.#known.find(id)?.digestAt
  }

  /** End of the log. Undefined until the log is opened. */
  get end(): ChainEnd | undefined {
    return this.#log.end
  }

  signedHead(): DsseEnvelope {
    return this.#log.signedHead()
  }

  /**
   * Returns the signed head once the log is opened. Throws UnavailableError (`CustodyUnavailable`) if it could not be
   * opened.
   */
  async head(): Promise<DsseEnvelope> {
    await this.#wasOpened.promise
    if (this.#log.end === undefined) {
      throw cannotWrite('it could not be opened', 'GET /readyz?verbose says why; the agent tries again by itself.')
    }
    return this.signedHead()
  }

  async page(query: {
    readonly after: number
    readonly limit: number
    readonly checkpointId?: string
    readonly signal?: AbortSignal
  }): Promise<CustodyPage> {
    await this.#wasOpened.promise
    return await readCustodyPage(this.#log.folder, { ...query, upTo: this.#log.end?.seq ?? 0 })
  }

  /**
   * Verifies the log up to the end known to this process, with its own key. `head` is a head stored elsewhere.
   * Concurrent callers with the same head share one read of the log.
   */
  async verify(head: ChainEnd | undefined): Promise<CustodyReport> {
    const key = JSON.stringify(head ?? null)
    const running = this.#verifying.get(key)
    if (running !== undefined) return await running
    const verifying = this.#verify(head).finally(() => this.#verifying.delete(key))
    this.#verifying.set(key, verifying)
    return await verifying
  }

  async #verify(head: ChainEnd | undefined): Promise<CustodyReport> {
    await this.#wasOpened.promise
    const upTo = this.#log.end?.seq ?? 0
    return await verifyCustody(this.#log.folder, {
      publicKey: this.key.publicKey,
      upTo,
      ...(head !== undefined && { head }),
      ...(upTo > 0 && { headText: JSON.stringify(this.signedHead()) }),
    })
  }

  export(after: number): AsyncGenerator<Buffer> {
    return exportCustody(this.#log.folder, { after })
  }

  async #readKnown(): Promise<void> {
    const end = this.#log.end?.seq ?? 0
    const removals = new OpenRemovals()
    const segments = segmentsAmong(await nodeDisk.list(this.#log.folder))
    let lastStart = { segment: segments[0]?.number ?? 0, offset: 0 }
    for (const segment of segments) {
      for await (const line of readLines(segmentPath(this.#log.folder, segment))) {
        // Most lines record downloads and need not be parsed here.
        if (!MATTERS.some((action) => line.bytes.includes(action))) continue
        const reading = judgeLine(line)
        if (!reading.isGood || reading.entry.seq > end) continue
        this.#known.apply(reading.entry)
        removals.apply(reading.entry)
        if (reading.entry.action === 'agent.start') lastStart = { segment: segment.number, offset: line.offset }
      }
    }
    this.#interrupted = removals.list()
    for (const entry of this.#early ?? []) if (entry.seq > end) this.#known.apply(entry)
    this.#early = undefined
    this.#openContents = await readOpenContents(this.#log.folder, lastStart, end)
  }
}

/** Returns the identity as the log stores it: the log still uses the original name of the field `isTrusted`. */
function identityOnRecord({ isTrusted, ...identity }: Checkpoint['identity']): object {
  return { ...identity, isBelieved: isTrusted }
}

/** Returns a key for one generation of an archive. */
function reportKey({ id, generation }: Checkpoint): string {
  return `${id} ${generation}`
}

const MATTERS = ['agent.start', 'capture', 'discovery', 'digest', 'delete', 'prune', 'tampering'].map((action) =>
  Buffer.from(`"action":"${action}"`),
)

export function custodyCheckpoint({
  id,
  fileName,
  sizeBytes,
  sha256,
}: Pick<Checkpoint, 'id' | 'fileName' | 'sizeBytes' | 'sha256'>): CustodyCheckpoint {
  return { id, fileName, sizeBytes, ...(sha256 !== undefined && { sha256 }) }
}
