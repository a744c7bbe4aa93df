import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import {
  type sendUnaryData,
  type Server,
  type ServerUnaryCall,
  type ServiceDefinition,
  status as Code,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import type { CallRecorder, RecordedCall } from './simulated-calls.ts'
import { type AnsweringNode, criAnswers } from './simulated-answers.ts'
import { type CallerLeft, DumpError, runDump } from './simulated-dump.ts'
import { type CriuOnNode, type RuntimeFailure, SERVICE_MISSING } from './simulated-personality.ts'
import type { FaultPlan } from './simulated-runtime-faults.ts'

/** What the services ask of the runtime that they belong to. */
export interface RuntimeNode extends AnsweringNode {
  readonly calls: CallRecorder
  readonly faults: FaultPlan
  readonly criu: CriuOnNode
  readonly isInitialized: boolean
  readonly hasCri: boolean
  readonly failure: RuntimeFailure | undefined
  readonly taskStateTimeoutMs: number
  readonly storage: string | undefined
  readonly died: AbortSignal
  readonly dumpsRunning: number
  dropConnections(): void
  track(dump: Promise<unknown>): void
}

interface Request {
  readonly container_id?: string
  readonly location?: string
  readonly verbose?: boolean
}

type Call = ServerUnaryCall<Request, object>
type Handler = (call: Call, callerLeft: Promise<CallerLeft>) => object | Promise<object>

const CRI = 'runtime.v1.RuntimeService'
const TASKS = 'containerd.services.tasks.v1.Tasks'
const KUBERNETES_NAMESPACE = 'k8s.io'
// A client's timer and the server's for the same deadline are some milliseconds apart.
const DEADLINE_SLACK_MS = 50

const definitions = loadSync(
  ['cri/runtime.proto', 'containerd/tasks.proto'].map((file) =>
    fileURLToPath(new URL(`../../proto/${file}`, import.meta.url)),
  ),
  { keepCase: true, longs: String, defaults: true },
)

export function registerServices(server: Server, node: RuntimeNode): void {
  const answers = criAnswers(node)
  const cri: Record<string, Handler> = {
    Version: () => answers.version(),
    Status: () => answers.status(),
    ListPodSandbox: () => answers.listPodSandbox(),
    ListContainers: () => answers.listContainers(),
    ContainerStatus: ({ request }) => answers.containerStatus(request.container_id ?? '', request.verbose === true),
    ListContainerStats: () => answers.listContainerStats(),
    CheckpointContainer: (call, callerLeft) => checkpoint(node, call.request, callerLeft),
  }
  const tasks: Record<string, Handler> = {
    Get: (call) => getTask(node, call),
    Resume: (call) => resumeTask(node, call),
  }
  server.addService(
    definitions[CRI] as ServiceDefinition,
    implementation(cri, node, () => refusalOfCri(node)),
  )
  server.addService(
    definitions[TASKS] as ServiceDefinition,
    implementation(tasks, node, () => refusalOfTasks(node)),
  )
}

function refusalOfCri(node: RuntimeNode): RuntimeFailure | undefined {
  if (!node.hasCri) return SERVICE_MISSING(CRI)
  return node.isInitialized ? node.failure : node.personality.notInitialized
}

function refusalOfTasks(node: RuntimeNode): RuntimeFailure | undefined {
  return node.personality.hasTaskApi ? node.failure : SERVICE_MISSING(TASKS)
}

function implementation(
  handlers: Readonly<Record<string, Handler>>,
  node: RuntimeNode,
  refusal: () => RuntimeFailure | undefined,
): UntypedServiceImplementation {
  return Object.fromEntries(
    Object.entries(handlers).map(([method, handler]) => [
      method,
      (call: Call, answer: sendUnaryData<object>) => {
        const recorded = record(node, method, call)
        const callerLeft = whenCallerLeaves(call)
        void callerLeft.then((left) => end(recorded, left))
        void respond(handler, call, { callerLeft, refused: refusal() }).then(
          (response) => {
            end(recorded, 'ok')
            answer(null, response)
            return undefined
          },
          (error: unknown) => {
            end(recorded, 'failed')
            answer(toFailure(error, node))
          },
        )
      },
    ]),
  )
}

async function respond(
  handler: Handler,
  call: Call,
  { callerLeft, refused }: { callerLeft: Promise<CallerLeft>; refused: RuntimeFailure | undefined },
): Promise<object> {
  failWith(refused)
  return await handler(call, callerLeft)
}

function record(node: RuntimeNode, method: string, call: Call): RecordedCall {
  return node.calls.add({
    method,
    containerId: call.request.container_id,
    location: call.request.location,
    hasDeadline: call.getDeadline() !== Infinity,
    startedAt: new Date(),
  })
}

function end(call: RecordedCall, outcome: NonNullable<RecordedCall['outcome']>): void {
  if (call.outcome !== undefined) return
  call.outcome = outcome
  call.endedAt = new Date()
}

function whenCallerLeaves(call: Call): Promise<CallerLeft> {
  const { promise, resolve } = Promise.withResolvers<CallerLeft>()
  const deadline = Number(call.getDeadline())
  call.on('cancelled', () => resolve(Date.now() >= deadline - DEADLINE_SLACK_MS ? 'deadline' : 'cancelled'))
  return promise
}

/** Asked in the runtimes' own order: is it there at all, is CRIU, is the container, does it run. */
async function checkpoint(node: RuntimeNode, request: Request, callerLeft: Promise<CallerLeft>): Promise<object> {
  const { personality } = node
  const id = request.container_id ?? ''
  const location = request.location ?? ''
  failWith(personality.checkpointMissing())
  failWith(personality.cannotCheckpoint(id, node.criu))
  const found = node.pods.find(id)
  if (found === undefined) throw new DumpError(personality.unknownContainer(id, 'checkpoint'))
  const { container } = found
  if (container.state !== 'running') throw new DumpError(personality.notRunning(container.id, container.state))

  const isOverlap = container.dumpsRunning > 0
  node.calls.dumpBegins({ isOverlap, dumpsAtOnce: node.dumpsRunning + 1 })
  if (isOverlap) {
    // crun lets the second dump begin, and that is the end of both.
    if (personality.ociRuntime === 'crun') container.disturbDump()
    throw new DumpError(personality.overlaps(container.id))
  }
  if (personality.engine === 'cri-o') {
    if (container.task === 'paused') throw new DumpError(personality.notRunning(container.id, container.state))
    if (container.isFrozen) throw new DumpError(personality.overlaps(container.id))
  }
  const script = node.faults.take(container.id)
  if (script.failsAt === 'start') {
    failWith(script.failure?.({ personality, containerId: container.id, location }))
  }
  const dump = runDump({
    ...found,
    location,
    script,
    personality,
    callerLeft,
    storage: node.storage,
    runtimeDied: node.died,
    dropConnection: () => node.dropConnections(),
  })
  node.track(dump)
  await dump
  return {}
}

async function getTask(node: RuntimeNode, call: Call): Promise<object> {
  const container = findTask(node, call)
  const timedOut = Symbol('timed out')
  const inTime = await Promise.race([container.shimIsFree, sleep(node.taskStateTimeoutMs, timedOut, { ref: false })])
  if (inTime === timedOut && !node.personality.slowTaskIsUnknown) {
    throw new DumpError({ code: Code.DEADLINE_EXCEEDED, details: 'context deadline exceeded' })
  }
  const status = inTime === timedOut ? 'UNKNOWN' : container.task.toUpperCase()
  return { process: { id: container.id, pid: 4711, status } }
}

async function resumeTask(node: RuntimeNode, call: Call): Promise<object> {
  const container = findTask(node, call)
  await container.shimIsFree
  if (container.task === 'running') throw new DumpError(unknown('cannot resume a running process'))
  if (!container.resume()) throw new DumpError(unknown('OCI runtime resume failed: container not paused'))
  return {}
}

function findTask(node: RuntimeNode, call: Call) {
  const namespace = call.metadata.get('containerd-namespace')[0]
  if (namespace === undefined || namespace === '') {
    throw new DumpError({ code: Code.FAILED_PRECONDITION, details: 'namespace is required: failed precondition' })
  }
  const id = call.request.container_id ?? ''
  // The task API takes whole ids only, and knows containers by namespace.
  const found = namespace.toString() === KUBERNETES_NAMESPACE ? node.pods.find(id) : undefined
  if (found === undefined || found.container.id !== id) {
    const details = `container "${id}" in namespace "${namespace.toString()}": not found`
    throw new DumpError({ code: Code.NOT_FOUND, details })
  }
  if (found.container.task === 'stopped') throw new DumpError({ code: Code.NOT_FOUND, details: `task ${id} not found` })
  return found.container
}

function failWith(failure: RuntimeFailure | undefined): void {
  if (failure !== undefined) throw new DumpError(failure)
}

function unknown(details: string): RuntimeFailure {
  return { code: Code.UNKNOWN, details }
}

function toFailure(error: unknown, node: RuntimeNode): RuntimeFailure {
  if (error instanceof DumpError) return error.failure
  if (node.died.aborted) return { code: Code.UNAVAILABLE, details: 'transport is closing' }
  return { code: Code.INTERNAL, details: `the simulated runtime has a bug: ${String(error)}` }
}
