import type { AccessResponse, accessQuery } from './access-schemas.ts'
import type { HealthResponse, ReadinessResponse, readinessQuery } from './agent-schemas.ts'
import { parseJson, UnexpectedAnswerError } from './api-error.ts'
import { readChunks, readLines } from './byte-lines.ts'
import type {
  captureListQuery,
  CaptureJobList,
  CaptureJobResponse,
  CaptureRequestBody,
  CaptureResult,
} from './capture-schemas.ts'
import type {
  checkpointListQuery,
  CheckpointList,
  CheckpointResponse,
  namespaceQuery,
  VerificationResponse,
} from './checkpoint-schemas.ts'
import { ClientTransport, type ClientOptions, type QueryValues } from './client-transport.ts'
import type { RunningContainerList } from './container-schemas.ts'
import {
  formatRange,
  readContent,
  readContentHeaders,
  type ByteRange,
  type ContentAnswer,
  type ContentHeaders,
} from './content-answer.ts'
import type {
  contentQuery,
  MemberList,
  memberListQuery,
  MemberResponse,
  RootfsChangeResponse,
  RootfsDiffResponse,
  rootfsDiffQuery,
} from './content-schemas.ts'
import {
  custodyEntry,
  type custodyExportQuery,
  type custodyQuery,
  type CustodyEntryResponse,
  type CustodyPageResponse,
  type CustodyReportResponse,
  type DsseEnvelope,
} from './custody-schemas.ts'
import type { KubeletResult } from './kubelet-schemas.ts'
import type { NodeResponse } from './node-schemas.ts'
import type { Operation } from './operation.ts'
import { operations, type OperationId } from './operations.ts'
import { readItems, readPages } from './pages.ts'
import type { QueryArguments } from './query-arguments.ts'
import type {
  retentionHistoryQuery,
  RetentionHistoryResponse,
  retentionPlanQuery,
  RetentionPlanRequest,
  RetentionPlanResponse,
  RetentionStatusResponse,
  RetentionSweepRequest,
  SweepReportResponse,
} from './retention-schemas.ts'
import { watchEvents, type WatchEvent, type WatchOptions } from './watch-stream.ts'

export interface CallOptions {
  /** Ends the call; it then throws the reason of the signal. */
  readonly signal?: AbortSignal | undefined
}

export interface CreateCaptureOptions extends CallOptions {
  /**
   * Answers when the capture has ended. The `fetch` of Node.js gives up after five minutes without an answer: for
   * longer waits read the job again, or watch it.
   */
  readonly wait?: boolean
  /** The same, for at most that long. */
  readonly waitSeconds?: number
}

/** 201: the capture has ended, and the checkpoints are there. 202: the job is queued or running. */
export type CaptureAnswer =
  | { readonly status: 201; readonly result: CaptureResult }
  | { readonly status: 202; readonly job: CaptureJobResponse }

/** A checkpoint, and the entity tag that names this state of it in `ifMatch` and `ifNoneMatch`. */
export interface TaggedCheckpoint {
  readonly checkpoint: CheckpointResponse
  readonly etag: string
}

export interface ActionOptions extends CallOptions {
  /** The reason, for the custody log. */
  readonly reason?: string | undefined
  /** Refuses the action when the checkpoint has changed since this entity tag. */
  readonly ifMatch?: string | undefined
}

export type ContentOptions = CallOptions &
  QueryArguments<typeof contentQuery> & {
    readonly range?: ByteRange
    /** Sends the whole content unless its entity tag is still this one. */
    readonly ifRange?: string
    /** Refuses unless the entity tag is still this one. */
    readonly ifMatch?: string
    /**
     * Codings for the way, such as `zstd, gzip`; `fetch` takes them off again. The default is none. A browser chooses
     * for itself.
     */
    readonly acceptEncoding?: string
  }

/** One line of the exported custody log. */
export interface CustodyLine {
  readonly text: string
  /** Absent where the line is not an entry: the export leaves damage as it is. */
  readonly entry: CustodyEntryResponse | undefined
}

/** The name of what to get again only if it has changed; the answer is undefined if it has not. */
interface Unless {
  readonly ifNoneMatch: string
}

type Method = (...parameters: never[]) => unknown

/**
 * A client of the agent's API with a method for each operation. It needs nothing but `fetch`, so that it runs in Node.js
 * and in browsers. Its methods throw ProblemError for what the server refuses, UnexpectedAnswerError for what is no
 * answer of this API, and what `fetch` throws when there is no answer.
 */
export class ApiClient implements Readonly<Record<OperationId, Method>> {
  readonly #transport: ClientTransport

  constructor(options: ClientOptions) {
    this.#transport = new ClientTransport(options)
  }

  async getNode(options: CallOptions = {}): Promise<NodeResponse> {
    return await this.#transport.json(operations.getNode, options)
  }

  async getAccess(
    query: QueryArguments<typeof accessQuery> = {},
    { signal }: CallOptions = {},
  ): Promise<AccessResponse> {
    return await this.#transport.json(operations.getAccess, { query, signal })
  }

  async listContainers(
    query: QueryArguments<typeof namespaceQuery> = {},
    { signal }: CallOptions = {},
  ): Promise<RunningContainerList> {
    return await this.#transport.json(operations.listContainers, { query, signal })
  }

  async createCapture(
    request: CaptureRequestBody,
    { wait, waitSeconds, signal }: CreateCaptureOptions = {},
  ): Promise<CaptureAnswer> {
    const response = await this.#transport.send(operations.createCapture, {
      query: { wait },
      headers: { Prefer: waitSeconds === undefined ? undefined : `wait=${waitSeconds}` },
      body: request,
      signal,
    })
    const body = await this.#transport.readJson(operations.createCapture, response)
    return response.status === 201
      ? { status: 201, result: body as CaptureResult }
      : { status: 202, job: body as CaptureJobResponse }
  }

  async listCaptures(
    query: QueryArguments<typeof captureListQuery> = {},
    { signal }: CallOptions = {},
  ): Promise<CaptureJobList> {
    return await this.#transport.json(operations.listCaptures, { query, signal })
  }

  /** Yields the jobs of all pages. */
  allCaptures(
    query: QueryArguments<typeof captureListQuery> = {},
    options: CallOptions = {},
  ): AsyncGenerator<CaptureJobResponse> {
    return readItems((token) => this.listCaptures(pageOf(query, token), options))
  }

  async getCapture(id: string, { signal }: CallOptions = {}): Promise<CaptureJobResponse> {
    return await this.#transport.json(operations.getCapture, { path: { id }, signal })
  }

  /** Answers when the job has ended. */
  async cancelCapture(id: string, { signal }: CallOptions = {}): Promise<CaptureJobResponse> {
    return await this.#transport.json(operations.cancelCapture, { path: { id }, signal })
  }

  async listCheckpoints(
    query: QueryArguments<typeof checkpointListQuery> = {},
    { signal }: CallOptions = {},
  ): Promise<CheckpointList> {
    return await this.#transport.json(operations.listCheckpoints, { query, signal })
  }

  /** Yields the checkpoints of all pages. */
  allCheckpoints(
    query: QueryArguments<typeof checkpointListQuery> = {},
    options: CallOptions = {},
  ): AsyncGenerator<CheckpointResponse> {
    return readItems((token) => this.listCheckpoints(pageOf(query, token), options))
  }

  getCheckpoint(id: string, options: CallOptions & Unless): Promise<TaggedCheckpoint | undefined>
  getCheckpoint(id: string, options?: CallOptions): Promise<TaggedCheckpoint>
  async getCheckpoint(
    id: string,
    { ifNoneMatch, signal }: CallOptions & Partial<Unless> = {},
  ): Promise<TaggedCheckpoint | undefined> {
    const headers = { 'If-None-Match': ifNoneMatch }
    const response = await this.#transport.send(operations.getCheckpoint, { path: { id }, headers, signal })
    return response.status === 304 ? undefined : await this.#tagged(operations.getCheckpoint, response)
  }

  async deleteCheckpoint(id: string, { reason, ifMatch, signal }: ActionOptions = {}): Promise<void> {
    // A proxy may drop the body of a DELETE, so the reason is in the query.
    const headers = { 'If-Match': ifMatch }
    await this.#transport.send(operations.deleteCheckpoint, { path: { id }, query: { reason }, headers, signal })
  }

  async pinCheckpoint(id: string, options: ActionOptions = {}): Promise<TaggedCheckpoint> {
    const { reason, ifMatch, signal } = options
    const call = { path: { id }, headers: { 'If-Match': ifMatch }, body: { reason }, signal }
    return await this.#tagged(operations.pinCheckpoint, await this.#transport.send(operations.pinCheckpoint, call))
  }

  async unpinCheckpoint(id: string, options: ActionOptions = {}): Promise<TaggedCheckpoint> {
    const { reason, ifMatch, signal } = options
    const call = { path: { id }, query: { reason }, headers: { 'If-Match': ifMatch }, signal }
    return await this.#tagged(operations.unpinCheckpoint, await this.#transport.send(operations.unpinCheckpoint, call))
  }

  /** Answers when the archive has been read to its end. */
  async verifyCheckpoint(
    id: string,
    { reason, signal }: Omit<ActionOptions, 'ifMatch'> = {},
  ): Promise<VerificationResponse> {
    return await this.#transport.json(operations.verifyCheckpoint, { path: { id }, body: { reason }, signal })
  }

  async listCheckpointMembers(
    id: string,
    query: QueryArguments<typeof memberListQuery> = {},
    { signal }: CallOptions = {},
  ): Promise<MemberList> {
    return await this.#transport.json(operations.listCheckpointMembers, { path: { id }, query, signal })
  }

  /** Yields the members of all pages. What the reading found is on the pages alone. */
  allCheckpointMembers(
    id: string,
    query: QueryArguments<typeof memberListQuery> = {},
    options: CallOptions = {},
  ): AsyncGenerator<MemberResponse> {
    return readItems((token) => this.listCheckpointMembers(id, pageOf(query, token), options))
  }

  getCheckpointArchive(id: string, options: ContentOptions & Unless): Promise<ContentAnswer | undefined>
  getCheckpointArchive(id: string, options?: ContentOptions): Promise<ContentAnswer>
  async getCheckpointArchive(
    id: string,
    options: ContentOptions & Partial<Unless> = {},
  ): Promise<ContentAnswer | undefined> {
    return await this.#content(operations.getCheckpointArchive, { id }, options)
  }

  /** The headers of the archive alone: its size, its digest and its entity tag, before it is downloaded. */
  async headCheckpointArchive(
    id: string,
    options: Omit<ContentOptions, 'range' | 'ifRange'> = {},
  ): Promise<ContentHeaders> {
    const call = { ...contentCall({ id }, options), isHead: true }
    return readContentHeaders(await this.#transport.send(operations.getCheckpointArchive, call))
  }

  getCheckpointMember(id: string, name: string, options: ContentOptions & Unless): Promise<ContentAnswer | undefined>
  getCheckpointMember(id: string, name: string, options?: ContentOptions): Promise<ContentAnswer>
  async getCheckpointMember(
    id: string,
    name: string,
    options: ContentOptions & Partial<Unless> = {},
  ): Promise<ContentAnswer | undefined> {
    return await this.#content(operations.getCheckpointMember, { id, name }, options)
  }

  async listRootfsDiff(
    id: string,
    query: QueryArguments<typeof rootfsDiffQuery> = {},
    { signal }: CallOptions = {},
  ): Promise<RootfsDiffResponse> {
    return await this.#transport.json(operations.listRootfsDiff, { path: { id }, query, signal })
  }

  /** Yields the changes of all pages. Whether they are all of them is on the pages alone. */
  allRootfsChanges(
    id: string,
    query: QueryArguments<typeof rootfsDiffQuery> = {},
    options: CallOptions = {},
  ): AsyncGenerator<RootfsChangeResponse> {
    return readItems((token) => this.listRootfsDiff(id, pageOf(query, token), options))
  }

  /** Yields events as they happen. See `watchEvents` for what happens when the stream ends. */
  watch(
    query: QueryArguments<typeof namespaceQuery> = {},
    options: WatchOptions = {},
  ): AsyncGenerator<WatchEvent, void> {
    return watchEvents((lastEventId, signal) => {
      const headers = { Accept: 'text/event-stream', 'Last-Event-ID': lastEventId }
      return this.#transport.send(operations.watch, { query, headers, signal })
    }, options)
  }

  async getManifest(id: string, { signal }: CallOptions = {}): Promise<DsseEnvelope> {
    return await this.#transport.json(operations.getManifest, { path: { id }, signal })
  }

  async listCustody(
    query: QueryArguments<typeof custodyQuery> = {},
    { signal }: CallOptions = {},
  ): Promise<CustodyPageResponse> {
    return await this.#transport.json(operations.listCustody, { query, signal })
  }

  /** Yields the entries of all pages. */
  allCustodyEntries(
    query: QueryArguments<typeof custodyQuery> = {},
    options: CallOptions = {},
  ): AsyncGenerator<CustodyEntryResponse> {
    return readItems((token) => {
      return this.listCustody(token === undefined ? query : { ...query, after: Number(token) }, options)
    })
  }

  /** Reads the whole log on the server; compares its end with a head that was kept elsewhere. */
  async verifyCustody(
    { head }: { readonly head?: { readonly seq: number; readonly hash: string } | undefined } = {},
    { signal }: CallOptions = {},
  ): Promise<CustodyReportResponse> {
    const query = { head: head && `${head.seq}:${head.hash}` }
    return await this.#transport.json(operations.verifyCustody, { query, signal })
  }

  async getCustodyHead({ signal }: CallOptions = {}): Promise<DsseEnvelope> {
    return await this.#transport.json(operations.getCustodyHead, { signal })
  }

  /** The log byte for byte, to keep. */
  async exportCustody(
    query: QueryArguments<typeof custodyExportQuery> = {},
    { signal }: CallOptions = {},
  ): Promise<ReadableStream<Uint8Array>> {
    const response = await this.#transport.send(operations.exportCustody, { query, signal })
    if (response.body !== null) return response.body
    throw new UnexpectedAnswerError('Cannot export the custody log: the answer has no body', response)
  }

  /** Yields the lines of the exported log. */
  async *custodyLines(
    query: QueryArguments<typeof custodyExportQuery> = {},
    options: CallOptions = {},
  ): AsyncGenerator<CustodyLine> {
    for await (const text of readLines(readChunks(await this.exportCustody(query, options)))) {
      const value = parseJson(text)
      const isEntry = custodyEntry.safeParse(value).success
      yield { text, entry: isEntry ? (value as CustodyEntryResponse) : undefined }
    }
  }

  async getRetention({ signal }: CallOptions = {}): Promise<RetentionStatusResponse> {
    return await this.#transport.json(operations.getRetention, { signal })
  }

  async planRetention(
    request: RetentionPlanRequest = {},
    query: QueryArguments<typeof retentionPlanQuery> = {},
    { signal }: CallOptions = {},
  ): Promise<RetentionPlanResponse> {
    return await this.#transport.json(operations.planRetention, { query, body: request, signal })
  }

  /** Yields the pages of one plan: what it removes, and with `include: 'keep'` then what stays. */
  allPlanPages(
    request: RetentionPlanRequest = {},
    query: QueryArguments<typeof retentionPlanQuery> = {},
    options: CallOptions = {},
  ): AsyncGenerator<RetentionPlanResponse> {
    return readPages((token) => this.planRetention(request, pageOf(query, token), options))
  }

  /** Answers when the sweep is over. */
  async sweep(request: RetentionSweepRequest = {}, { signal }: CallOptions = {}): Promise<SweepReportResponse> {
    return await this.#transport.json(operations.sweep, { body: request, signal })
  }

  async listSweeps(
    query: QueryArguments<typeof retentionHistoryQuery> = {},
    { signal }: CallOptions = {},
  ): Promise<RetentionHistoryResponse> {
    return await this.#transport.json(operations.listSweeps, { query, signal })
  }

  /** Yields the reports of all pages. */
  allSweeps(
    query: QueryArguments<typeof retentionHistoryQuery> = {},
    options: CallOptions = {},
  ): AsyncGenerator<SweepReportResponse> {
    return readItems((token) => this.listSweeps(pageOf(query, token), options))
  }

  /** Returns the answer of an agent that is not well too. */
  async getHealth({ signal }: CallOptions = {}): Promise<HealthResponse> {
    return await this.#transport.json(operations.getHealth, { signal })
  }

  /** Returns the answer of an agent that is not ready too. */
  async getReadiness(
    query: QueryArguments<typeof readinessQuery> = {},
    { signal }: CallOptions = {},
  ): Promise<ReadinessResponse> {
    return await this.#transport.json(operations.getReadiness, { query, signal })
  }

  async getMetrics({ signal }: CallOptions = {}): Promise<string> {
    return await this.#transport.text(await this.#transport.send(operations.getMetrics, { signal }))
  }

  async getOpenApi({ signal }: CallOptions = {}): Promise<Readonly<Record<string, unknown>>> {
    return await this.#transport.json(operations.getOpenApi, { signal })
  }

  /** The kubelet's endpoint. Throws TextError with what the kubelet would say. */
  async kubeletCheckpoint(
    { namespace, pod, container }: { readonly namespace: string; readonly pod: string; readonly container: string },
    { timeoutSeconds, signal }: CallOptions & { readonly timeoutSeconds?: number } = {},
  ): Promise<KubeletResult> {
    const call = { path: { namespace, pod, container }, query: { timeout: timeoutSeconds }, signal }
    return await this.#transport.json(operations.kubeletCheckpoint, call)
  }

  async #content(
    operation: Operation,
    path: Readonly<Record<string, string>>,
    options: ContentOptions & Partial<Unless>,
  ): Promise<ContentAnswer | undefined> {
    const response = await this.#transport.send(operation, contentCall(path, options))
    return response.status === 304 ? undefined : readContent(response)
  }

  async #tagged(operation: Operation, response: Response): Promise<TaggedCheckpoint> {
    const etag = response.headers.get('etag')
    if (etag === null) throw new UnexpectedAnswerError('Cannot read the checkpoint: the answer has no ETag', response)
    return { checkpoint: (await this.#transport.readJson(operation, response)) as CheckpointResponse, etag }
  }
}

function contentCall(path: Readonly<Record<string, string>>, options: ContentOptions & Partial<Unless>) {
  const { range, ifRange, ifMatch, ifNoneMatch, acceptEncoding = 'identity', signal, ...query } = options
  const headers = {
    Range: range && formatRange(range),
    'If-Range': ifRange,
    'If-Match': ifMatch,
    'If-None-Match': ifNoneMatch,
    'Accept-Encoding': acceptEncoding,
  }
  return { path, query, headers, signal }
}

function pageOf<Query extends QueryValues>(query: Query, token: string | undefined): Query {
  return token === undefined ? query : { ...query, continue: token }
}
