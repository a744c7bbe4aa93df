import { cluster, type NodeName } from './cluster-harness.ts'

/** In the node: the CRIU that has begun to write memory, as soon as there is one; its number, once it stands still. */
const STOP = `
find_dump() {
  for pid in $(pgrep -x criu --ns $$ --nslist mnt); do
    if ls -l /proc/$pid/fd 2>/dev/null | grep -q pages-; then return; fi
  done
  false
}
until find_dump; do :; done
kill -STOP $pid
until grep -q '^State:.T' /proc/$pid/status; do sleep 0.01; [ -e /proc/$pid ] || exit 1; done
echo $pid`

/** Holds the dump that is about to begin on a node in its midst, for as long as a test needs. Resolves with what lets it go on. */
export async function stallDump(node: NodeName): Promise<() => void> {
  const { code, stdout, stderr } = await cluster.inNode(node, ['sh', '-c', STOP])
  if (code !== 0) throw new Error(`Cannot stop the dump on node "${node}": it was over before. ${stderr}`)
  let isStalled = true
  return () => {
    if (isStalled) process.kill(Number(stdout), 'SIGCONT')
    isStalled = false
  }
}
