import { rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { Server, ServerCredentials, type ConnectionInjector } from '@grpc/grpc-js'
import { createCrioHttp, demultiplex } from './simulated-crio-http.ts'
import { CallRecorder } from './simulated-calls.ts'
import type { FreezerTree } from './simulated-freezer.ts'
import { type CriuOnNode, type Personality, personality, type RuntimeFailure } from './simulated-personality.ts'
import { type PodSettings, type SimulatedPod, SimulatedPods } from './simulated-pods.ts'
import { FaultPlan } from './simulated-runtime-faults.ts'
import { registerServices, type RuntimeNode } from './simulated-services.ts'
import { SimulatedSocket, type SocketFile } from './simulated-socket.ts'

export interface SimulatedRuntimeOptions {
  readonly socketPath: string
  /** `containerd 2.1.9` (default), `containerd 2.4.2`, `containerd 1.6.20`, `cri-o 1.36.3`, `cri-o 1.36.3 crun`, … */
  readonly is?: string
  readonly freezer?: FreezerTree
  /** How long containerd waits for a task that is being dumped before it answers `Get` without it. */
  readonly taskStateTimeoutMs?: number
  /** Where CRI-O keeps its containers, and the memory images of a dump until they are exported. */
  readonly storage?: string
}

/**
 * A CRI runtime that behaves like the real ones towards its callers: the same codes and texts, archives of real CRIU
 * images written in the same way, the same freezes, the same reaction to a cancel and to a deadline. The real ones stay
 * the judge: one contract suite runs against both.
 */
export class SimulatedRuntime implements RuntimeNode {
  readonly socketPath: string
  readonly personality: Personality
  readonly pods: SimulatedPods
  readonly calls = new CallRecorder()
  /** How the next checkpoints go: `runtime.faults.next(slow(500))`. */
  readonly faults = new FaultPlan()
  readonly taskStateTimeoutMs: number
  readonly storage: string | undefined
  criu: CriuOnNode = 'present'
  isInitialized = true
  /** CRI may be switched off in containerd; then only the task API answers. */
  hasCri = true
  /** What `Status` says is missing. */
  notReady: { reason: string; message: string } | undefined
  /** Every call ends like this. */
  failure: RuntimeFailure | undefined

  readonly #socket: SimulatedSocket
  readonly #freezer: FreezerTree | undefined
  #server: Server | undefined
  #injector: ConnectionInjector | undefined
  #life = new AbortController()
  readonly #dumps = new Set<Promise<unknown>>()
  #freezerPoll: NodeJS.Timeout | undefined

  constructor(options: SimulatedRuntimeOptions) {
    this.socketPath = options.socketPath
    this.personality = personality(options.is ?? 'containerd 2.1.9')
    this.#freezer = options.freezer
    this.pods = new SimulatedPods(this.personality.engine, options.freezer)
    this.taskStateTimeoutMs = options.taskStateTimeoutMs ?? 2000
    this.storage = options.storage
    const grpc = (socket: Socket) => this.#injector?.injectConnection(socket)
    const http = this.personality.engine === 'cri-o' ? createCrioHttp(this.pods) : undefined
    this.#socket = new SimulatedSocket(options.socketPath, (socket) => {
      if (http === undefined) grpc(socket)
      else demultiplex(socket, { http1: (plain) => http.emit('connection', plain), http2: grpc })
    })
  }

  get died(): AbortSignal {
    return this.#life.signal
  }

  /** Also after `stop`: then with a new socket file, and the same pods. */
  async start(): Promise<this> {
    const server = new Server({
      'grpc.max_receive_message_length': 16 * 1024 * 1024,
      'grpc.max_send_message_length': 16 * 1024 * 1024,
    })
    registerServices(server, this)
    if (this.personality.engine === 'containerd') {
      for (const container of this.pods.containers()) container.foundByNewContainerd()
    }
    this.#life = new AbortController()
    this.#server = server
    this.#injector = server.createConnectionInjector(ServerCredentials.createInsecure())
    await this.#socket.listen()
    if (this.#freezer !== undefined) this.#freezerPoll = setInterval(() => this.#obeyFreezers(), 10).unref()
    return this
  }

  /**
   * Ends at once, as killed: dumps under way stay where they are, their containers paused. The pods live on.
   * `stale` leaves the socket file behind with nobody listening.
   */
  async stop(socketFile: SocketFile = 'removed'): Promise<void> {
    clearInterval(this.#freezerPoll)
    this.#life.abort()
    await this.#socket.close(socketFile)
    this.#injector?.destroy()
    this.#server?.forceShutdown()
    this.#injector = undefined
    this.#server = undefined
    await Promise.allSettled(this.#dumps)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    rmSync(this.socketPath, { force: true })
  }

  async restart(): Promise<void> {
    await this.stop('stale')
    await this.start()
  }

  /** Every caller loses its connection in the middle of whatever it does; the runtime goes on. */
  dropConnections(): void {
    this.#socket.dropConnections()
  }

  /** Connections are taken and never answered, as by a daemon that is stuck. */
  setSilent(isSilent: boolean): void {
    this.#socket.setSilent(isSilent)
    if (isSilent) this.#socket.dropConnections()
  }

  addPod(settings: PodSettings): SimulatedPod {
    return this.pods.add(settings)
  }

  /** The pod of the recorded kubelet answers: one container runs, one has crashed, an init container is done. */
  webPod(): SimulatedPod {
    return this.pods.add({
      namespace: 'shop',
      name: 'web-node-a',
      containers: [
        { name: 'init', state: 'exited' },
        { name: 'counter' },
        { name: 'crash', state: 'exited', attempt: 3 },
      ],
    })
  }

  /** Resolves when no dump is going on any more, abandoned ones included. */
  async dumpsOver(): Promise<void> {
    while (this.#dumps.size > 0) await Promise.allSettled(this.#dumps)
  }

  track(dump: Promise<unknown>): void {
    this.#dumps.add(dump)
    void dump.then(
      () => this.#dumps.delete(dump),
      () => this.#dumps.delete(dump),
    )
  }

  get dumpsRunning(): number {
    return this.#dumps.size
  }

  #obeyFreezers(): void {
    for (const container of this.pods.containers()) container.obeyFreezer()
  }
}

export async function startSimulatedRuntime(options: SimulatedRuntimeOptions): Promise<SimulatedRuntime> {
  return await new SimulatedRuntime(options).start()
}
