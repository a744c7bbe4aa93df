import { kubectl } from './agent-pods.ts'
import { cluster, type NodeName } from './cluster-harness.ts'

/** Where a container stands: by containerd's task API, by the kernel, by Kubernetes, and by the only thing that counts in the end. */
export interface ContainerCondition {
  readonly task: string
  readonly freezer: string
  readonly kubernetes: string
  /** "works", or what kubectl says. */
  readonly exec: string
}

export const ALIVE: ContainerCondition = {
  task: 'RUNNING',
  freezer: 'THAWED',
  kubernetes: 'Running, Ready',
  exec: 'works',
}

const EXEC_WITHIN_MS = 10_000

/** Of the container `main`. */
export async function lookAt(node: NodeName, pod: string): Promise<ContainerCondition> {
  const [{ task, freezer }, kubernetes, exec] = await Promise.all([
    askNode(node, await containerIdOf(pod)),
    askKubernetes(pod),
    tryExec(pod),
  ])
  return { task, freezer, kubernetes, exec }
}

export async function tryExec(pod: string): Promise<string> {
  const argv = ['kubectl', '-n', 'shop', 'exec', pod, '-c', 'main', '--', 'echo', 'alive']
  try {
    const { code, stdout, stderr } = await cluster.runCommand(argv, { timeoutMs: EXEC_WITHIN_MS })
    return code === 0 && stdout === 'alive\n' ? 'works' : stderr
  } catch (error) {
    return `hangs: ${String(error)}`
  }
}

export async function containerIdOf(pod: string): Promise<string> {
  const path = 'jsonpath={.status.containerStatuses[?(@.name=="main")].containerID}'
  return (await kubectl(['get', 'pod', pod, '-o', path])).replace('containerd://', '')
}

/** The freezer of cgroup v1 or v2, in the words of v1. */
const ASK_NODE = `
set -- $(ctr -n k8s.io tasks ls | grep "^$1 ")
v1=$(sed -n 's/^[0-9]*:freezer://p' "/proc/$2/cgroup")
v2=$(sed -n 's/^0:://p' "/proc/$2/cgroup")
if [ -n "$v1" ]; then cat "/sys/fs/cgroup/freezer$v1/freezer.state"
elif grep -q 'frozen 1' "/sys/fs/cgroup$v2/cgroup.events"; then echo FROZEN; else echo THAWED; fi
echo "$3"`

async function askNode(node: NodeName, containerId: string): Promise<{ task: string; freezer: string }> {
  const { stdout, stderr } = await cluster.inNode(node, ['sh', '-c', ASK_NODE, 'ask', containerId])
  const [freezer = '', task = ''] = stdout.trim().split('\n')
  if (task === '') throw new Error(`Cannot find the task of container "${containerId}": ${stderr}`)
  return { task, freezer }
}

async function askKubernetes(pod: string): Promise<string> {
  const path = 'jsonpath={.status.phase}, {.status.conditions[?(@.type=="Ready")].status}'
  return (await kubectl(['get', 'pod', pod, '-o', path])).replace(/True$/, 'Ready')
}
