import type { HealthCheck } from '../../http/node-services.ts'
import type Sqlite from 'better-sqlite3'
import type { CustodyLogState } from '../../custody/custody-log.ts'
import type { RuntimeState } from '../containers/runtime-monitor.ts'
import type { Staging } from '../directory/staging.ts'

export interface HealthSources {
  readonly runtime: RuntimeState
  readonly staging: Staging
  readonly database: Sqlite.Database
  readonly frozenContainers: number
  readonly canSeeFreezes: boolean
  readonly watchError: string | undefined
  readonly custody: CustodyLogState
  readonly isIndexGone: boolean
}

/**
 * Returns the checks of the agent's health. They have no names, paths or texts of users, because anyone may read them.
 */
export function checkHealth({
  runtime,
  staging,
  database,
  frozenContainers,
  canSeeFreezes,
  watchError,
  custody,
  isIndexGone,
}: HealthSources): readonly HealthCheck[] {
  const { error, ability } = runtime
  return [
    check('index', () => {
      database.prepare('SELECT 1').get()
    }),
    isIndexGone
      ? degraded('index-file', 'it was removed while in use', 'Restart the agent, which builds the index anew.')
      : ok('index-file'),
    stagingCheck(staging),
    unpublishedCheck(staging.keptCount),
    error === undefined
      ? ok('runtime')
      : degraded(
          'runtime',
          'the container runtime does not answer, or is not ready',
          'See that it runs and that runtime.socket is its CRI socket; the log has what it said.',
        ),
    ability.state === 'yes'
      ? ok('can-checkpoint')
      : degraded(
          'can-checkpoint',
          `the runtime cannot checkpoint, or has not said so yet: ${ability.code}`,
          'See canCheckpoint in GET /v1/node for the cause and the next step.',
        ),
    watchError === undefined
      ? ok('directory-watch')
      : degraded(
          'directory-watch',
          'the kernel reports no changes of checkpoints.directory: new archives are found by the rescan only',
          'Raise fs.inotify.max_user_watches and fs.inotify.max_user_instances on the node; the watch is tried again at each rescan.',
        ),
    canSeeFreezes
      ? ok('freeze-guard')
      : degraded(
          'freeze-guard',
          'this runtime has no task API, and no cgroup tree is mounted at freezeGuard.cgroupRoot',
          "Mount the node's cgroup tree there (mountCgroups: true in the chart).",
        ),
    custodyCheck(custody),
    frozenContainers === 0
      ? ok('frozen-containers')
      : degraded(
          'frozen-containers',
          `${frozenContainers} frozen`,
          'The log names them. Resume each in the runtime, or set freezeGuard.foreign to resume.',
        ),
  ]
}

function unpublishedCheck(archives: number): HealthCheck {
  if (archives === 0) return ok('unpublished-archives')
  const what = archives === 1 ? '1 whole archive is' : `${archives} whole archives are`
  return degraded(
    'unpublished-archives',
    `${what} kept in the staging directory`,
    'Mend what the log says was in the way, then restart the agent, which publishes them.',
  )
}

const NEARLY_FULL = 0.8

function custodyCheck({ sizeBytes, maxBytes, reserveBytes, error }: CustodyLogState): HealthCheck {
  if (error !== undefined) {
    return degraded(
      'custody',
      'the log cannot be written: no content is given, nothing removed',
      'See that the disk of state.directory works and has room, and that the log is below custody.maxSize.',
    )
  }
  const openBytes = maxBytes - reserveBytes
  if (sizeBytes < openBytes * NEARLY_FULL) return ok('custody')
  const refused = sizeBytes < openBytes ? '' : ': no content is given'
  return degraded(
    'custody',
    `${Math.floor((sizeBytes / maxBytes) * 100)}% of custody.maxSize${refused}`,
    'Raise custody.maxSize, or move the oldest files of the log to another place.',
  )
}

function stagingCheck(staging: Staging): HealthCheck {
  try {
    staging.prepare()
    return ok('staging')
  } catch (error) {
    return degraded(
      'staging',
      `captures cannot be written into checkpoints.directory: ${codeOf(error)}`,
      'See that it is on a writable disk, and that it and each directory above it belong to root and nobody else may write to them.',
    )
  }
}

function check(name: string, assess: () => void): HealthCheck {
  try {
    assess()
    return ok(name)
  } catch (error) {
    return {
      name,
      state: 'failed',
      reason: `it cannot be read: ${codeOf(error)}`,
      hint: 'See that the disk of state.directory works and has room, then restart the agent.',
    }
  }
}

function ok(name: string): HealthCheck {
  return { name, state: 'ok' }
}

function degraded(name: string, reason: string, hint: string): HealthCheck {
  return { name, state: 'degraded', reason, hint }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'InternalError'
}
