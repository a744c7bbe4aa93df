import { errorText } from '../../shared/errors.ts'
import { PollLoop } from '../../shared/poll-loop.ts'
import type { Logger } from '../../shared/logger.ts'
import { keepIndexPrivate } from '../../store/index-privacy.ts'
import { tightenDirectory, type PermissionRepair, type PermissionsPolicy } from './permissions.ts'

export interface PrivacyKeeperOptions {
  readonly directory: string
  readonly policy: PermissionsPolicy
  readonly index: { readonly file: string; readonly inode: number }
  readonly intervalMs: number
  readonly onRepair: (repair: PermissionRepair) => void
  readonly logger: Logger
}

/** Checks at intervals that the directories and the index are private to root. The inventory checks the archives. */
export class PrivacyKeeper {
  readonly #options: PrivacyKeeperOptions
  readonly #loop: PollLoop
  #isIndexGone = false

  constructor(options: PrivacyKeeperOptions) {
    this.#options = options
    this.#loop = new PollLoop({ poll: () => this.lookOnce(), intervalMs: options.intervalMs })
  }

  /** Whether another program removed or replaced the index while it is in use. */
  get isIndexGone(): boolean {
    return this.#isIndexGone
  }

  start(): void {
    this.#loop.start()
  }

  async stop(): Promise<void> {
    await this.#loop.stop()
  }

  lookOnce(): void {
    const { directory, policy, index, onRepair, logger } = this.#options
    try {
      const { tightened, isGone } = keepIndexPrivate(index.file, index.inode)
      for (const found of tightened) onRepair({ what: 'index', ...found })
      if (isGone && !this.#isIndexGone) {
        logger.error({ file: index.file }, 'The index was removed while in use; it is built anew at the next start')
      }
      this.#isIndexGone = isGone
      const repair = policy === 'enforce' ? tightenDirectory(directory) : undefined
      if (repair !== undefined) onRepair(repair)
    } catch (error) {
      logger.error({ error: errorText(error) }, 'Cannot see whether the folders of the agent are for root alone')
    }
  }
}
