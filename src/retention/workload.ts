/**
 * Characters of the suffixes that Kubernetes generates; they contain no vowels, so that no words
 * appear.
 */
const RANDOM = '[bcdfghjklmnpqrstvwxz2456789]'

/** Suffixes that controllers add to the names of their pods, longer ones first. */
const SUFFIXES: readonly RegExp[] = [
  // ReplicaSet of a Deployment: the hash of the template and five characters.
  new RegExp(`-${RANDOM}{6,10}-${RANDOM}{5}$`),
  // CronJob, and Job with an index.
  new RegExp(String.raw`-\d+-${RANDOM}{5}$`),
  // DaemonSet, Job, bare ReplicaSet.
  new RegExp(`-${RANDOM}{5}$`),
  // StatefulSet.
  /-\d+$/,
]

/**
 * Longest name. The API server cuts a longer one to 58 characters, possibly within the hash, and
 * adds five.
 */
const LONGEST = 63
const CUT = new RegExp(`^(.{58})${RANDOM}{5}$`)
const HASH = new RegExp(`-${RANDOM}{0,10}$`)

/**
 * Derives the workload from the name of a pod: `web-5d9c7b6f4-x2x9k` and its successors are all
 * `web`. A pod without a controller is its own workload.
 */
export function workloadOf(pod: string): string {
  for (const suffix of SUFFIXES) {
    const at = pod.search(suffix)
    if (at > 0) return pod.slice(0, at)
  }
  const cut = pod.length === LONGEST ? CUT.exec(pod)?.[1] : undefined
  return cut?.replace(HASH, '') ?? pod
}
