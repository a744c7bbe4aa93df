import { lstatSync, mkdirSync } from 'node:fs'
import { lstat, mkdir, readdir, rm, rmdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { pinMarkerOf } from '../../checkpoint/pin-marker.ts'
import { isSystemError, UnavailableError } from '../../shared/errors.ts'
import { makeDirectory, whyNotMade } from '../../shared/make-directory.ts'
import { failPoint } from '../../shared/fail-point.ts'
import { assertSafeDirectory } from './safe-directory.ts'

/** Hidden directory beside the archives. It is on their file system, so publishing needs a link and never a copy. */
export const STAGING_FOLDER = '.checkpoint-agent'

const ARCHIVE = 'archive.tar'
const MARKER = pinMarkerOf(ARCHIVE)

/**
 * Manages the staging directory, which holds one directory for each capture under way and the lock. Only the agent's
 * user can access it.
 */
export class Staging {
  readonly #directory: string
  readonly #root: string
  readonly #held = new Map<string, Promise<boolean>>()
  readonly #kept = new Set<string>()

  constructor(checkpointsDirectory: string) {
    this.#directory = checkpointsDirectory
    this.#root = join(checkpointsDirectory, STAGING_FOLDER)
  }

  get root(): string {
    return this.#root
  }

  /** Creates the root if it is missing. Throws UnavailableError while the location is not safe. */
  prepare(): void {
    assertSafeDirectory(this.#directory)
    try {
      mkdirSync(this.#root, { mode: 0o700 })
    } catch (error) {
      if (!isSystemError(error, 'EEXIST')) throw cannotPrepare(this.#root, error)
    }
    const stat = lstatSync(this.#root)
    const isOurs = stat.isDirectory() && stat.uid === (process.geteuid?.() ?? stat.uid) && (stat.mode & 0o077) === 0
    if (!isOurs) {
      throw new UnavailableError(
        `Cannot stage a checkpoint in "${this.#root}": it is not a folder of ours that others cannot open`,
        {
          code: 'UnsafeDirectory',
          hint: `As root on the node: chown root: ${this.#root} && chmod 0700 ${this.#root}, or remove it.`,
        },
      )
    }
  }

  /** Returns the path that the runtime writes to. */
  archivePath(id: string): string {
    return join(this.#root, id, ARCHIVE)
  }

  /** Returns the path at which the marker of a pinned archive is written first. */
  markerPath(id: string): string {
    return join(this.#root, id, MARKER)
  }

  /** Creates the directory of a capture. Throws if it exists, so that it holds no files of an older capture. */
  async create(id: string): Promise<string> {
    this.prepare()
    await mkdir(join(this.#root, id), { mode: 0o700 })
    return this.archivePath(id)
  }

  /**
   * Defers the removal of a directory that the runtime may still write to. If the promise resolves with true, removal
   * is allowed. With false, it is left to the next start of the agent. Removing the directory during CRI-O's export
   * makes the export fail, and its memory images stay on the node.
   */
  hold(id: string, until: Promise<boolean>): void {
    this.#held.set(id, until)
  }

  /** Removes the directory. A held directory is removed later, without waiting for it. */
  async remove(id: string): Promise<void> {
    const held = this.#held.get(id)
    if (held === undefined) return await this.#remove(id)
    // If the removal fails, the next start tries again.
    void this.#removeLater(id, held).catch(() => undefined)
  }

  async #removeLater(id: string, held: Promise<boolean>): Promise<void> {
    const isOver = await held
    this.#held.delete(id)
    if (isOver) await this.#remove(id)
  }

  async #remove(id: string): Promise<void> {
    const folder = join(this.#root, id)
    try {
      // A capture usually leaves only this file, and a recursive removal takes longer.
      await unlink(this.archivePath(id))
      failPoint('capture.unlinked')
      await rmdir(folder)
    } catch {
      await rm(folder, { recursive: true, force: true })
    }
  }

  /** Lists the IDs of captures that an earlier run of the agent left here, except kept ones. */
  async listLeftovers(): Promise<string[]> {
    const entries = await readdir(this.#root, { withFileTypes: true }).catch((error: unknown) => {
      if (isSystemError(error, 'ENOENT')) return []
      throw error
    })
    return entries.filter((entry) => entry.isDirectory() && !this.#kept.has(entry.name)).map((entry) => entry.name)
  }

  /** Keeps an archive that is whole, or may be, and could not be published. Only its publication removes it. */
  keep(id: string): void {
    this.#kept.add(id)
  }

  release(id: string): void {
    this.#kept.delete(id)
  }

  /** Number of kept archives that still exist. A person may have moved them away. */
  get keptCount(): number {
    const isThere = (id: string) => lstatSync(this.archivePath(id), { throwIfNoEntry: false }) !== undefined
    return [...this.#kept].filter(isThere).length
  }

  /** Returns the number of bytes that the runtime has written, or undefined if it has not started. */
  async bytesWritten(id: string): Promise<number | undefined> {
    try {
      return (await lstat(this.archivePath(id))).size
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return undefined
      throw error
    }
  }
}

function cannotPrepare(root: string, error: unknown): UnavailableError {
  return new UnavailableError(`Cannot make the staging folder "${root}": ${whyNotMade(error)}`, {
    code: 'LocationNotWritable',
    hint: 'The agent must be able to write into checkpoints.directory.',
    cause: error,
  })
}

/**
 * Prepares the checkpoint directory and its staging. The kubelet creates the directory only if its feature gate is on,
 * so on other nodes the agent creates it.
 */
export function prepareStaging(checkpointsDirectory: string): Staging {
  const staging = new Staging(checkpointsDirectory)
  try {
    makeDirectory(checkpointsDirectory)
  } catch (error) {
    throw new UnavailableError(`Cannot make the checkpoint directory "${checkpointsDirectory}": ${whyNotMade(error)}`, {
      code: 'LocationNotWritable',
      hint: 'Make it as root on the node, or set checkpoints.directory.',
      cause: error,
    })
  }
  staging.prepare()
  return staging
}
