/** Binds each of the folders before `--` to itself, so that it stays as it is when the root is made read-only. */
const ON_A_READ_ONLY_ROOT = `
while [ "$1" != -- ]; do mount --bind "$1" "$1"; shift; done
shift
mount -o remount,bind,ro /
exec "$@"`

/**
 * A command that becomes the agent as the chart runs it: root without a single capability and no way to gain one, on a
 * root that it can only read, but for these folders. What is mounted there later reaches it, as into a hostPath.
 */
export function asInTheChart(writable: readonly string[]): readonly string[] {
  const onReadOnlyRoot = ['unshare', '--mount', '--propagation', 'slave', 'sh', '-euc', ON_A_READ_ONLY_ROOT, 'sh']
  return [...onReadOnlyRoot, ...writable, '--', 'setpriv', '--bounding-set=-all', '--inh-caps=-all', '--no-new-privs']
}
