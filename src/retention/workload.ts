/** The letters and digits of which Kubernetes makes what it puts behind a name: none that could spell a word. */
const RANDOM = '[bcdfghjklmnpqrstvwxz2456789]'

/** What controllers put behind the name of their pods, the longer first. */
const SUFFIXES: readonly RegExp[] = [
  // ReplicaSet of a Deployment: the template's hash, and five characters.
  new RegExp(`-${RANDOM}{6,10}-${RANDOM}{5}$`),
  // CronJob, and Job with an index.
  new RegExp(String.raw`-\d+-${RANDOM}{5}$`),
  // DaemonSet, Job, bare ReplicaSet.
  new RegExp(`-${RANDOM}{5}$`),
  // StatefulSet.
  /-\d+$/,
]

/** Of a name that is too long the API server leaves 58 characters, perhaps half a hash, and puts five behind them. */
const LONGEST = 63
const CUT = new RegExp(`^(.{58})${RANDOM}{5}$`)
const HASH = new RegExp(`-${RANDOM}{0,10}$`)

/** What the pod is one of: `web-5d9c7b6f4-x2x9k` and its successors are all `web`. A pod of its own is its own workload. */
export function workloadOf(pod: string): string {
  for (const suffix of SUFFIXES) {
    const at = pod.search(suffix)
    if (at > 0) return pod.slice(0, at)
  }
  const cut = pod.length === LONGEST ? CUT.exec(pod)?.[1] : undefined
  return cut?.replace(HASH, '') ?? pod
}
