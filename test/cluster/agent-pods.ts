import { setTimeout as sleep } from 'node:timers/promises'
import { cluster, type NodeName } from './cluster-harness.ts'

const LOOP = 'while :; do sleep 60; done'
const WITHIN_MS = 60_000

/** With the name of the container the archive's name would be longer than a file's may be. */
export const LONG_POD = `long-${'p'.repeat(175)}`
export const LONG_CONTAINER = 'c'.repeat(60)

/** Pods whose containers are in every state that a container can be in, on one node; their names end in `-a` or `-b`. */
export async function runPodsInAllStates(node: NodeName): Promise<void> {
  await applyPods(node, [
    {
      name: 'states',
      restartPolicy: 'Never',
      initContainers: [container('first', 'true'), { ...container('sidecar'), restartPolicy: 'Always' }],
      containers: [
        container('main'),
        container('done', 'true'),
        container('failed', 'exit 3'),
        { ...container('absent'), image: 'localhost/nowhere:1' },
      ],
    },
    // one process, and no sleep: CRIU interrupts it, and busybox takes that for its end
    { name: 'quiet', containers: [container('main', 'mkfifo /tmp/silence; exec cat <>/tmp/silence')] },
    { name: 'talker', containers: [container('main', TALK)] },
    { name: 'starting', initContainers: [container('first')], containers: [container('main')] },
    {
      name: 'stuck',
      volumes: [{ name: 'nowhere', configMap: { name: 'nowhere' } }],
      containers: [{ ...container('main'), volumeMounts: [{ name: 'nowhere', mountPath: '/nowhere' }] }],
    },
    { name: 'finished', restartPolicy: 'Never', containers: [container('main', 'true')] },
    { name: 'leaving', terminationGracePeriodSeconds: 600, containers: [container('main', `trap : TERM; ${LOOP}`)] },
    { name: 'gone', containers: [container('main')] },
    {
      name: 'on-the-host',
      hostNetwork: true,
      hostPID: true,
      containers: [{ ...container('main'), securityContext: { privileged: true } }],
    },
    { name: LONG_POD, containers: [container(LONG_CONTAINER)] },
  ])
  await waitForStates(`states-${node}`, 'main:running done:terminated failed:terminated absent:waiting')
  const debug = ['debug', '-q', `states-${node}`, '--image', 'localhost/busybox:1', '--image-pull-policy', 'Never']
  await kubectl([...debug, '--container', 'probe', '--', 'sh', '-c', LOOP])
  await kubectl(['delete', 'pod', `leaving-${node}`, '--wait=false'])
  await kubectl(['delete', 'pod', `gone-${node}`])
  await Promise.all([
    waitForStates(`states-${node}`, 'probe:running', { field: 'ephemeralContainerStatuses' }),
    waitForStates(`starting-${node}`, 'first:running', { field: 'initContainerStatuses' }),
    waitForStates(`finished-${node}`, 'main:terminated'),
    ...['talker', 'quiet', 'leaving', 'on-the-host'].map((name) => waitForStates(`${name}-${node}`, 'main:running')),
    waitForStates(`${LONG_POD}-${node}`, `${LONG_CONTAINER}:running`),
  ])
}

export async function removePods(node: NodeName): Promise<void> {
  await kubectl(['delete', 'pod', '-l', `agent-test=${node}`, '--force', '--grace-period=0', '--wait=false'])
}

/** The pod `counter-a` or `counter-b`: its name. */
export async function runCounter(node: NodeName, namespace = 'shop'): Promise<string> {
  await applyPods(node, [{ name: 'counter', containers: [container('main')] }], namespace)
  await waitForStates(`counter-${node}`, 'main:running', { namespace })
  return `counter-${node}`
}

/** A container with so much memory that none of it can be left out of a dump. Running, with the memory filled, when it resolves. */
export async function runHog(node: NodeName, sizeMiB: number): Promise<void> {
  // dd reads all of it before it writes, and the pipe takes no more than its first 64 KiB: the rest stays in dd's buffer
  const command = `dd if=/dev/urandom bs=${sizeMiB}M count=1 2>/dev/null | (read -r line; echo full >/tmp/full; ${LOOP})`
  await applyPods(node, [{ name: 'hog', containers: [container('main', command)] }])
  await waitForStates(`hog-${node}`, 'main:running')
  const isFull = ['exec', `hog-${node}`, '-c', 'main', '--', 'cat', '/tmp/full']
  await until(`the memory of hog-${node} is full`, async () => (await kubectl(isFull).catch(() => '')) === 'full\n')
}

export interface RunningContainer {
  readonly namespace: string
  readonly pod: string
  readonly podUid: string
  readonly container: string
  readonly containerId: string
}

/** The container `main`, as the API server knows it. */
export async function findContainer(pod: string): Promise<RunningContainer> {
  const { metadata, status } = JSON.parse(await kubectl(['get', 'pod', pod, '-o', 'json'])) as {
    readonly metadata: { readonly namespace: string; readonly uid: string }
    readonly status: { readonly containerStatuses: readonly { readonly name: string; readonly containerID: string }[] }
  }
  const main = status.containerStatuses.find(({ name }) => name === 'main')
  if (main === undefined) throw new Error(`Cannot find the container main of "${pod}"`)
  return {
    namespace: metadata.namespace,
    pod,
    podUid: metadata.uid,
    container: main.name,
    containerId: main.containerID.replace('containerd://', ''),
  }
}

export function kubectl(args: readonly string[], namespace = 'shop'): Promise<string> {
  return cluster.kubectl(['-n', namespace, ...args])
}

/** Two halves of one container with a TCP connection between them, which CRIU refuses to dump. */
const TALK = `
mkfifo /tmp/silence; exec 3<>/tmp/silence
nc -l -p 7001 <&3 >/dev/null &
while ! nc 127.0.0.1 7001 <&3; do sleep 0.1; done`

type PodSpec = Readonly<Record<string, unknown>> & { readonly name: string }

function container(name: string, script = LOOP): Readonly<Record<string, unknown>> {
  return { name, image: 'localhost/busybox:1', imagePullPolicy: 'Never', command: ['sh', '-c', script] }
}

async function applyPods(node: NodeName, pods: readonly PodSpec[], name = 'shop'): Promise<void> {
  const items = pods.map(({ name: pod, ...spec }) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `${pod}-${node}`, namespace: name, labels: { 'agent-test': node } },
    spec: { nodeName: `node-${node}`, terminationGracePeriodSeconds: 1, ...spec },
  }))
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }
  // on the side of the server, or two that begin at once would both create it
  await cluster.kubectl(['apply', '--server-side', '-f', '-'], { input: JSON.stringify(namespace) })
  await until(`the namespace "${name}" has its service account`, async () => {
    const found = await kubectl(['get', 'serviceaccount', 'default', '--ignore-not-found', '-o', 'name'], name)
    return found !== ''
  })
  await cluster.apply(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }))
}

async function waitForStates(
  pod: string,
  expected: string,
  { field = 'containerStatuses', namespace = 'shop' } = {},
): Promise<void> {
  const states = async () => {
    const { status } = JSON.parse(await kubectl(['get', 'pod', pod, '-o', 'json'], namespace)) as {
      readonly status: Readonly<Record<string, readonly ContainerStatus[] | undefined>>
    }
    return (status[field] ?? []).map(({ name, state }) => `${name}:${Object.keys(state).join()}`)
  }
  await until(`${pod} is ${expected}`, async () => {
    const found = await states()
    return expected.split(' ').every((state) => found.includes(state))
  })
}

interface ContainerStatus {
  readonly name: string
  readonly state: object
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (const start = performance.now(); !(await isSo()); await sleep(200)) {
    if (performance.now() - start > WITHIN_MS) throw new Error(`Cannot wait until ${what}: it is not after 60 s`)
  }
}
