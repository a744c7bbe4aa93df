import process from 'node:process'
import { UnavailableError } from '../shared/errors.ts'

const NEEDED_MAJOR = 26

/**
 * Throws an UnavailableError (`NodeTooOld`). An older Node.js would fail later, far from the cause.
 */
export function assertNodeVersion(version: string = process.versions.node): void {
  if (Number(version.split('.')[0]) >= NEEDED_MAJOR) return
  throw new UnavailableError(`Cannot run on Node.js ${version}: it needs ${NEEDED_MAJOR} or newer`, {
    code: 'NodeTooOld',
    hint: 'Where it was built, `make node` has put one into tools/node/node_modules/.bin: begin with that one.',
  })
}
