import process from 'node:process'
import { isatty } from 'node:tty'
import { styleText } from 'node:util'

/** Plain lines. Bold ones only where the output is a terminal and NO_COLOR does not forbid it. */
export interface Screen {
  line(text?: string): void
  heading(text: string): void
  /** Says what is done, and every ten seconds that it is still being done. */
  step<T>(text: string, work: () => Promise<T>): Promise<T>
}

const STILL_AT_IT_MS = 10_000

/** `onGone` is called when nobody can read it any more: a closed terminal, an ended pipe. */
export function openScreen(onGone: () => void): Screen {
  process.stdout.on('error', onGone)
  process.stderr.on('error', onGone)
  if (process.stdout.isTTY) watchTerminal(onGone)
  return {
    line,
    heading(text) {
      line(styleText('bold', text, { stream: process.stdout }))
    },
    async step(text, work) {
      line(`  ${text} ...`)
      const startedAt = performance.now()
      const timer = setInterval(() => {
        line(`    ${Math.round((performance.now() - startedAt) / 1000)} s so far`)
      }, STILL_AT_IT_MS)
      try {
        return await work()
      } finally {
        clearInterval(timer)
      }
    },
  }
}

/** The SIGHUP of a closed terminal goes to the leader of its session alone; under `make` that need not be us. */
function watchTerminal(onGone: () => void): void {
  setInterval(() => {
    if (!isatty(process.stdout.fd)) onGone()
  }, 1000).unref()
}

function line(text = ''): void {
  process.stdout.write(`${text}\n`)
}
