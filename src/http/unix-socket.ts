import { lstatSync, rmSync } from 'node:fs'
import { chmod, lstat, mkdtemp, rename, rm, rmdir } from 'node:fs/promises'
import { connect, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import { AgentError, ConflictError, InvalidInputError, isSystemError, UnavailableError } from '../shared/errors.ts'
import { whyNotMade } from '../shared/make-directory.ts'
import { makePrivateFolder } from './private-folder.ts'

/**
 * Path bytes that Linux allows for a unix socket: 108 with the terminating zero. The temporary path is slightly longer
 * than the final one.
 */
const MAX_PATH_BYTES = 107

/**
 * Listens on a unix socket that only its owner can ever open. Creates a missing parent directory with mode 0700 and
 * replaces a stale socket. Throws ConflictError if another process answers on it, and UnavailableError if the system
 * refuses.
 */
export async function listenOnUnixSocket(server: Server, path: string): Promise<void> {
  try {
    await listenOn(server, path)
  } catch (error) {
    if (error instanceof AgentError) throw error
    throw new UnavailableError(`Cannot listen on "${path}": ${whyNotMade(error)}`, {
      code: 'SocketUnavailable',
      hint: 'Set server.socket to a path in a directory that the agent may write to, such as /run/checkpoint-agent/agent.sock.',
      cause: error,
    })
  }
}

async function listenOn(server: Server, path: string): Promise<void> {
  await refuseLive(path)
  await makePrivateFolder(dirname(path))

  const privateFolder = await mkdtemp(`${dirname(path)}/.`)
  const boundPath = join(privateFolder, 's')
  try {
    if (Buffer.byteLength(boundPath) > MAX_PATH_BYTES) {
      throw new InvalidInputError(`Cannot listen on "${path}": the path is too long for a unix socket`, {
        code: 'InvalidSocketPath',
        hint: 'Set server.socket to a shorter path, such as /run/checkpoint-agent/agent.sock.',
      })
    }
    await listen(server, boundPath)
    await chmod(boundPath, 0o600)
    await rename(boundPath, path)
  } catch (error) {
    server.close()
    await rm(boundPath, { force: true })
    throw error
  } finally {
    await rmdir(privateFolder)
  }

  const { ino } = await lstat(path)
  server.once('close', () => removeOwn(path, ino))
}

async function refuseLive(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  })
  if (found === undefined) return
  if (!found.isSocket()) {
    throw new ConflictError(`Cannot listen on "${path}": there is a file that is no socket`, {
      code: 'SocketPathTaken',
      hint: 'Remove it, or give the agent another server.socket.',
    })
  }
  if (await answers(path)) {
    throw new ConflictError(`Cannot listen on "${path}": another process answers there`, {
      code: 'SocketInUse',
      hint: 'Stop the other agent, or give this one a server.socket of its own.',
    })
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.once('error', (error) => {
      if (isSystemError(error, 'ECONNREFUSED', 'ENOENT')) resolve(false)
      else reject(error)
    })
  })
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Removes the socket unless another agent has replaced it. Synchronous, because the process may be about to exit. */
function removeOwn(path: string, ino: number): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.ino === ino) rmSync(path, { force: true })
}
