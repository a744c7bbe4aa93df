/**
 * Loaded into the agent before its own code (`node --import`): its standard input is a pipe that only the demo holds, so
 * the end of the pipe is the end of the demo, kill -9 included.
 */
import process from 'node:process'

/** Long enough for an agent that has nothing under way; its runtime is gone together with the demo. */
const GRACE_MS = 3000

process.stdin.on('end', () => {
  process.kill(process.pid, 'SIGTERM')
  setTimeout(() => process.exit(1), GRACE_MS).unref()
})
process.stdin.on('error', () => process.exit(1))
process.stdin.resume()
