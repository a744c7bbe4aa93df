import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

export const CHROMIUM = 'chromium'

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

const VISIT_MS = 60_000

/** A browser and a profile of its own. */
export interface Browser {
  readonly process: ChildProcess
  /** Kills it with all its helpers, and removes its profile. */
  stop(): Promise<void>
}

export function openBrowser(url: string, flags: readonly string[] = []): Browser {
  const profile = mkdtempSync(join(tmpdir(), 'e2e-browser-'))
  const child = spawn(CHROMIUM, [...FLAGS, `--user-data-dir=${profile}`, ...flags, url], {
    stdio: ['ignore', 'pipe', 'ignore'],
    // A group of its own, so that none of its helpers is left behind.
    detached: true,
    env: { ...process.env, HOME: profile },
  })
  const ended = once(child, 'exit')
  return {
    process: child,
    async stop() {
      killGroup(child.pid)
      await ended
      rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
    },
  }
}

/** The document of a page that has no scripts. `resolverRules`: whom a name leads to, as in `MAP evil.test 127.0.0.1`. */
export async function documentOf(url: string, resolverRules = ''): Promise<string> {
  const browser = openBrowser(url, [`--host-resolver-rules=${resolverRules}`, '--dump-dom'])
  const killer = setTimeout(() => killGroup(browser.process.pid), VISIT_MS)
  try {
    return browser.process.stdout === null ? '' : await text(browser.process.stdout)
  } finally {
    clearTimeout(killer)
    await browser.stop()
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended, helpers included.
  }
}
