export interface DemoMode {
  readonly kind: 'real' | 'simulated'
  /** The first line on the screen: which runtime it is, and why. */
  readonly headline: string
}

/** A wish that cannot be met, in words for the user. */
export class DemoError extends Error {
  readonly exitCode: number

  constructor(message: string, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}

const REAL = 'REAL runtime: containerd 2.1 and CRIU from Debian packages, in a node root of its own'

/**
 * `wanted` is the variable DEMO, `findObstacle` what is in the way of a real runtime on this machine. Throws a DemoError
 * for a wish that is unknown or cannot be met.
 */
export async function chooseMode(wanted: string, findObstacle: () => Promise<string | undefined>): Promise<DemoMode> {
  if (wanted === 'simulated') return { kind: 'simulated', headline: 'SIMULATED runtime: DEMO=simulated asks for it' }
  if (wanted !== '' && wanted !== 'real') {
    throw new DemoError(`Cannot start the demo with DEMO="${wanted}": it must be real or simulated`, 2)
  }
  const obstacle = await findObstacle()
  if (obstacle === undefined) return { kind: 'real', headline: REAL }
  if (wanted === 'real') throw new DemoError(`Cannot start the demo with DEMO="real": ${obstacle}`)
  return {
    kind: 'simulated',
    headline: `SIMULATED runtime: ${obstacle}; as root on Linux with Debian packages in reach it is a real one`,
  }
}
