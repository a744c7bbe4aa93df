import type { Screen } from './screen.ts'

/** A container runtime with the demo's pods, real or simulated. */
export interface DemoNode {
  /** What the runtime says of itself: `containerd 2.1.9, CRIU 4.2`. */
  readonly runtime: string
  readonly socketPath: string
  readonly checkpointsDirectory: string
  readonly cgroupRoot: string
  /** Throws when something of it is left. */
  stop(): Promise<void>
}

export interface DemoNodeOptions {
  readonly folder: string
  readonly screen: Screen
  /** Aborted when the user wants to leave: what takes long is given up. */
  readonly leaving: AbortSignal
  /** Aborted when the user does not want to wait for an orderly end either. */
  readonly hurry: AbortSignal
}
