import type { ContainerState } from '../../src/runtime/container-runtime.ts'
import { FreezerCgroup, type FreezerTree } from './simulated-freezer.ts'

/** A name as somebody chose it; bytes where it is to be no valid UTF-8. */
export type Text = string | Uint8Array

/** What containerd's shim believes. The processes themselves may be elsewhere: see `isFrozen`. */
export type SimulatedTaskState = 'running' | 'paused' | 'stopped'

export interface ContainerFacts {
  readonly id: string
  readonly sandboxId: string
  readonly name: Buffer
  readonly attempt: number
  readonly state: ContainerState
  readonly memoryBytes: number
  readonly writableLayerBytes: number
  readonly image: Buffer
  readonly cgroupsPath: string
  readonly freezer: FreezerTree | undefined
}

/** A container that counts one a second while it is neither frozen nor over. */
export class SimulatedContainer {
  readonly id: string
  readonly sandboxId: string
  readonly name: Buffer
  readonly attempt: number
  readonly image: Buffer
  readonly cgroupsPath: string
  readonly createdAt = new Date()
  readonly cgroup: FreezerCgroup | undefined
  memoryBytes: number
  writableLayerBytes: number
  /** Dumps of it that are under way, abandoned ones included. More than one is what must never happen. */
  dumpsRunning = 0

  #state: ContainerState
  #task: SimulatedTaskState
  #isFrozen = false
  #ranMs = 0
  #runsSince: number | undefined
  #shimIsFree: Promise<void> = Promise.resolve()
  #isLost = false
  #isTraced = false
  #isDisturbed = false

  constructor(facts: ContainerFacts) {
    this.id = facts.id
    this.sandboxId = facts.sandboxId
    this.name = facts.name
    this.attempt = facts.attempt
    this.image = facts.image
    this.cgroupsPath = facts.cgroupsPath
    this.memoryBytes = facts.memoryBytes
    this.writableLayerBytes = facts.writableLayerBytes
    this.#state = facts.state
    this.#task = facts.state === 'running' ? 'running' : 'stopped'
    this.#runsSince = facts.state === 'running' ? Date.now() : undefined
    this.cgroup =
      facts.freezer && facts.state === 'running' ? new FreezerCgroup(facts.freezer, facts.cgroupsPath) : undefined
  }

  /** What CRI says: it has no word for a paused one. */
  get state(): ContainerState {
    return this.#isLost ? 'unknown' : this.#state
  }

  get task(): SimulatedTaskState {
    return this.#task
  }

  /** Whether its processes stand still, whoever brought that about. */
  get isFrozen(): boolean {
    this.obeyFreezer()
    return this.#isFrozen
  }

  /** What the shim, and so `kubectl exec`, would make of an exec now. */
  get canExec(): boolean {
    return this.#task === 'running' && !this.isFrozen
  }

  /** How far it has counted. */
  get count(): number {
    this.obeyFreezer()
    const now = this.#runsSince === undefined ? 0 : Date.now() - this.#runsSince
    return Math.floor((this.#ranMs + now) / 1000)
  }

  /** Resolves when the shim answers again: it keeps everybody waiting while runc dumps. */
  get shimIsFree(): Promise<void> {
    return this.#shimIsFree
  }

  occupyShim(until: Promise<void>): void {
    this.#shimIsFree = until
  }

  pause(): void {
    if (this.#state !== 'running') return
    this.#task = 'paused'
    this.freeze(true)
  }

  /** False when there was nothing to resume: the processes run, whatever the shim believes. */
  resume(): boolean {
    if (this.#task !== 'paused' || !this.isFrozen) return false
    this.#task = 'running'
    this.freeze(false)
    return true
  }

  /** Freezes or thaws the processes behind the shim's back. */
  freeze(isFrozen: boolean): void {
    if (this.#state !== 'running') return
    this.#settle(isFrozen)
    this.cgroup?.write(isFrozen)
  }

  /** CRIU holds the processes by ptrace: they stand still while the freezer says THAWED. */
  trace(isTraced: boolean): void {
    this.#isTraced = isTraced
    this.cgroup?.write(!isTraced)
  }

  /** Another dump has begun before this one was over. */
  disturbDump(): void {
    this.#isDisturbed = true
  }

  /** Whether that happened since it was asked last. */
  takeDisturbance(): boolean {
    const wasDisturbed = this.#isDisturbed
    this.#isDisturbed = false
    return wasDisturbed
  }

  /** Takes over what somebody wrote into the freezer. */
  obeyFreezer(): void {
    if (this.#state !== 'running' || this.#isTraced) return
    const wanted = this.cgroup?.poll()
    if (wanted !== undefined && wanted !== this.#isFrozen) this.#settle(wanted)
  }

  /** containerd, when it starts, has no place for a paused task: CRI calls it unknown until it starts once more. */
  foundByNewContainerd(): void {
    this.#isLost = this.#task === 'paused'
  }

  exit(): void {
    if (this.#state !== 'running') return
    this.#settle(true)
    this.#isFrozen = false
    this.#state = 'exited'
    this.#isLost = false
    this.#task = 'stopped'
    this.cgroup?.remove()
  }

  #settle(isFrozen: boolean): void {
    if (isFrozen && this.#runsSince !== undefined) {
      this.#ranMs += Date.now() - this.#runsSince
      this.#runsSince = undefined
    }
    if (!isFrozen) this.#runsSince ??= Date.now()
    this.#isFrozen = isFrozen
  }
}
