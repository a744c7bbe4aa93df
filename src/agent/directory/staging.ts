import { lstatSync, mkdirSync } from 'node:fs'
import { lstat, mkdir, readdir, rm, rmdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { pinMarkerOf } from '../../checkpoint/pin-marker.ts'
import { isSystemError, UnavailableError } from '../../shared/errors.ts'
import { makeDirectory, whyNotMade } from '../../shared/make-directory.ts'
import { failPoint } from '../../shared/fail-point.ts'
import { assertSafeDirectory } from './safe-directory.ts'

/** A hidden folder beside the archives, on their file system, so that publishing is a link and never a copy. */
export const STAGING_FOLDER = '.checkpoint-agent'

const ARCHIVE = 'archive.tar'
const MARKER = pinMarkerOf(ARCHIVE)

/** What is inside: one folder a capture in flight, and the lock. Nobody but us can reach into it. */
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

  /** Makes the root where it is missing. Throws an UnavailableError while the place is not safe. */
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

  /** Where the runtime is told to write. */
  archivePath(id: string): string {
    return join(this.#root, id, ARCHIVE)
  }

  /** Where the marker of an archive that is to be kept is written first. */
  markerPath(id: string): string {
    return join(this.#root, id, MARKER)
  }

  /** Throws when the folder is already there: nothing of an older capture may get into this one. */
  async create(id: string): Promise<string> {
    this.prepare()
    await mkdir(join(this.#root, id), { mode: 0o700 })
    return this.archivePath(id)
  }

  /**
   * Keeps a folder that the runtime may still write to until the promise resolves with true; with false it is left to
   * the next start of the agent. Where its folder goes, CRI-O's export fails and its memory images stay on the node.
   */
  hold(id: string, until: Promise<boolean>): void {
    this.#held.set(id, until)
  }

  /** At once, or for a folder that is held: later, without waiting for it. */
  async remove(id: string): Promise<void> {
    const held = this.#held.get(id)
    if (held === undefined) return await this.#remove(id)
    // Where it fails, the next start tries again.
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
      // All that a capture leaves there as a rule; a walk takes longer.
      await unlink(this.archivePath(id))
      failPoint('capture.unlinked')
      await rmdir(folder)
    } catch {
      await rm(folder, { recursive: true, force: true })
    }
  }

  /** Ids of captures that an earlier run of the agent left here, but for those that are kept. */
  async listLeftovers(): Promise<string[]> {
    const entries = await readdir(this.#root, { withFileTypes: true }).catch((error: unknown) => {
      if (isSystemError(error, 'ENOENT')) return []
      throw error
    })
    return entries.filter((entry) => entry.isDirectory() && !this.#kept.has(entry.name)).map((entry) => entry.name)
  }

  /** Its archive is whole, or may be, and could not be published: nothing but its publication takes it away. */
  keep(id: string): void {
    this.#kept.add(id)
  }

  release(id: string): void {
    this.#kept.delete(id)
  }

  /** How many archives are kept, as far as they are still there: a person may have taken them out. */
  get keptCount(): number {
    const isThere = (id: string) => lstatSync(this.archivePath(id), { throwIfNoEntry: false }) !== undefined
    return [...this.#kept].filter(isThere).length
  }

  /** The size of what the runtime has written so far; undefined before it has begun. */
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

/** The kubelet makes the directory only while its feature gate is on; on other nodes we do. */
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
