import { readFileSync } from 'node:fs'
import { cluster, type NodeName } from './cluster-harness.ts'

/** In the node: the CRIU that has begun to write memory, as soon as there is one. */
const STOP = `
while :; do
  for pid in $(pgrep -x criu --ns $$ --nslist mnt); do
    if ls -l /proc/$pid/fd 2>/dev/null | grep -q pages-; then kill -STOP $pid && echo $pid; exit; fi
  done
done`

/** Holds the dump that is about to begin on a node in its midst, for as long as a test needs. Resolves with what lets it go on. */
export async function stallDump(node: NodeName): Promise<() => void> {
  const { stdout } = await cluster.inNode(node, ['sh', '-c', STOP])
  const pid = Number(stdout)
  let isStalled = true
  const resume = () => {
    if (isStalled) process.kill(pid, 'SIGCONT')
    isStalled = false
  }
  if (!/^State:\tT/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) {
    resume()
    throw new Error(`Cannot stop the dump on node "${node}": process ${pid} goes on`)
  }
  return resume
}
