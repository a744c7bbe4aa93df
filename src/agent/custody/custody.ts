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

/** A disk that hangs must not hold up what happens all the same. */
const NOTE_WITHIN_MS = 10_000

/** The record of everything that happens to an archive and who asked for it. */
export class Custody implements Omit<CustodyServices, 'manifest'> {
  readonly key: SigningKey
  readonly #options: CustodyOptions
  readonly #log: CustodyLog
  readonly #known = new KnownArchives()
  readonly #leaving = new LeavingFiles()
  /** Files whose tampering is about to be recorded. */
  readonly #reporting = new Set<string>()
  /** Captures whose archive may be seen before their entry is written. */
  readonly #own = new Set<string>()
  /** Resolves when its end is known; before that it would seem to be empty. */
  readonly #wasOpened = Promise.withResolvers<void>()
  /** Resolves when the entries of earlier runs have been read. */
  readonly #wasRead = Promise.withResolvers<void>()
  /** Resolves when the start of this run is on record, and the end of what earlier runs left open. */
  readonly #wasStarted = Promise.withResolvers<void>()
  /** By the head that they compare with. */
  readonly #verifying = new Map<string, Promise<CustodyReport>>()
  /** Of earlier runs. */
  #interrupted: readonly OpenRemoval[] = []
  /** What earlier runs announced to be given out, and did not tell the end of. */
  #openContents: readonly OpenContent[] = []
  /** Entries of this run, until those of earlier ones have been read. */
  #early: CustodyEntry[] | undefined = []

  /** Throws an UnavailableError when the signing key cannot be used; `state.directory` must be there. */
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

  /** Opens the log and reads what it knows of the archives. Never rejects: a log that cannot be written says so itself. */
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
    // Before the start: the next run looks for what this one leaves open after it.
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

  /** Resolves once the entry is on the disk. Throws an UnavailableError (`CustodyUnavailable`): then nothing may be done. */
  async record(draft: CustodyDraft): Promise<CustodyEntry> {
    return await this.#log.append(draft, 'open')
  }

  /** The same for content that is about to leave, after the entry about the start of this run. */
  async recordContent(draft: CustodyDraft): Promise<CustodyEntry> {
    await this.#wasStarted.promise
    return await this.record(draft)
  }

  /** Removals that are about to be done, with one wait for the disk. Where it throws, part of them may be on the disk all the same. */
  async recordRemovals(drafts: readonly CustodyDraft[]): Promise<void> {
    // Before that, an archive that we remove would be missed as one that somebody else took.
    await this.#wasRead.promise
    const isOurs = drafts.every(({ actor }) => actor === AGENT_ACTOR)
    await this.#log.appendAll(drafts, isOurs ? 'always' : 'reserve')
  }

  /**
   * For what has happened, or is done whether it can be recorded or not: taking evidence is worth more than the entry
   * about it. Resolves once it is on the disk, or kept in memory for when the disk is well again.
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

  /** What people do with an archive. How it ended is noted in any case; that it is about to be done must be recorded. */
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

  /** Records tampering with this very file once, however many callers and looks find it at the same time. */
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

  /** An archive of our own is about to appear under its name. */
  expectOwn(checkpointId: string): void {
    this.#own.add(checkpointId)
  }

  /** The inventory sees an archive for the first time. */
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
   * The inventory has looked at an archive again. Another digest than the one on record is tampering, and so is what
   * once had a digest and is not whole any more.
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

  /** The inventory misses an archive. */
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

  /** Everything the log knows to be there; what is not went while nobody looked. */
  async missing(isThere: (id: string) => boolean): Promise<void> {
    for (const id of this.#known.ids) if (!isThere(id)) await this.gone(id)
  }

  /** The agent took rights away that others had on an archive. */
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

  /** Whether it is on record that this agent took it, whatever became of the file. */
  knowsCaptureOf(checkpointId: string): boolean {
    return this.#own.has(checkpointId) || this.#known.find(checkpointId)?.capture !== undefined
  }

  /** Removals that an earlier run announced and did not tell the end of. */
  get interruptedRemovals(): readonly OpenRemoval[] {
    return this.#interrupted
  }

  findRecordedSha256({ id }: { readonly id: string }): string | undefined {
    return this.#known.find(id)?.sha256
  }

  /** When it was put on record, in milliseconds: what has changed since may have other bytes. */
  findDigestTime(id: string): number | undefined {
    return this.#known.find(id)?.digestAt
  }

  /** Undefined before the log was opened. */
  get end(): ChainEnd | undefined {
    return this.#log.end
  }

  signedHead(): DsseEnvelope {
    return this.#log.signedHead()
  }

  /** The same, once the log was opened. Throws an UnavailableError (`CustodyUnavailable`) where it could not be. */
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
   * Up to the end as this process knows it, and against its own key. `head` is one that was kept elsewhere. Callers who
   * ask the same at the same time share one reading of the log.
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
        // Most lines are about who read what; they need not be parsed.
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

/** The log keeps the name that this field had when the first entries were written. */
function identityOnRecord({ isTrusted, ...identity }: Checkpoint['identity']): object {
  return { ...identity, isBelieved: isTrusted }
}

/** One file of one checkpoint. */
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
