import { execFile } from 'node:child_process'
import { accessSync, constants, existsSync, mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import process from 'node:process'
import { trackingHierarchy } from '../../test/e2e/harness/cgroup-tree.ts'

/** The first thing that keeps a real runtime from running here, or `undefined`. Seconds at most, and changes nothing. */
export async function findRealObstacle(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'not Linux'
  if (process.getuid?.() !== 0) return 'not root'
  return (await namespaceObstacle()) ?? cgroupObstacle() ?? overlayObstacle() ?? (await packageObstacle())
}

export function isOnPath(program: string): boolean {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return folder !== ''
    } catch {
      return false
    }
  })
}

/** Root in a container is often not allowed to mount. */
async function namespaceObstacle(): Promise<string | undefined> {
  const mayUnshare = await succeeds('unshare', ['--uts', '--net', '--mount', '--propagation', 'private', '--', 'true'])
  return mayUnshare ? undefined : 'root may make no mounts and namespaces here'
}

function cgroupObstacle(): string | undefined {
  try {
    accessSync(trackingHierarchy(), constants.W_OK)
    return undefined
  } catch {
    return 'no cgroup tree that can be written is mounted here'
  }
}

const OVERLAYFS_MAGIC = 0x794c7630

/** The node's root is an overlay, and an overlay cannot keep its changes on another one. */
function overlayObstacle(): string | undefined {
  return statfsSync('/var/tmp').type === OVERLAYFS_MAGIC ? '/var/tmp lies on an overlay file system' : undefined
}

async function packageObstacle(): Promise<string | undefined> {
  if (hasPreparedRoot()) return undefined
  if (!isOnPath('mmdebstrap') && !isOnPath('apt-get')) return 'neither mmdebstrap nor apt-get is installed'
  const reached = existsSync(APT_HELPER) ? await reachesDebian() : true
  return reached ? undefined : 'Debian packages are not in reach (the mirror of apt does not answer)'
}

/** What `prepare` of the test harness made in an earlier run: then no packages are needed. */
function hasPreparedRoot(): boolean {
  const { CHECKPOINT_AGENT_CACHE: own, XDG_CACHE_HOME: shared } = process.env
  const cache = own || join(shared || join(process.env['HOME'] || homedir(), '.cache'), 'checkpoint-agent')
  return existsSync(cache) && readdirSync(cache).some((name) => name.startsWith('root-forky-'))
}

const APT_HELPER = '/usr/lib/apt/apt-helper'

/** With apt's own means: its proxies and mirrors are those that the packages will come through. */
async function reachesDebian(): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'checkpoint-agent-reach-'))
  try {
    const mirror = await findMirror()
    // Without one the harness asks the mirror that its own tools know.
    if (mirror === undefined) return true
    const url = `${mirror.replace(/\/$/, '')}/dists/forky/InRelease`
    const limits = ['-o', 'Acquire::http::Timeout=4', '-o', 'Acquire::Retries=0']
    return await succeeds(APT_HELPER, [...limits, 'download-file', url, join(folder, 'InRelease')])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Where this machine's own apt gets Debian from. */
async function findMirror(): Promise<string | undefined> {
  const sites = await new Promise<string>((resolve) => {
    execFile('apt-get', ['indextargets', '--format', '$(SITE)'], { timeout: 8000 }, (error, stdout) => {
      resolve(error === null ? stdout : '')
    })
  })
  return sites.split('\n').find((site) => /^https?:\/\/.*\/debian\/?$/.test(site))
}

function succeeds(program: string, args: readonly string[]): Promise<boolean> {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: 8000, killSignal: 'SIGKILL' }, (error) => {
      resolve(error === null)
    })
  })
}
