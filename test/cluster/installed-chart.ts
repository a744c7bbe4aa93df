import { stringify } from 'yaml'
import { CHART } from '../charts/rendered-chart.ts'
import { AGENT_IMAGE, loadAgentImage } from './agent-image.ts'
import { CHECKPOINTS } from './agent-in-node.ts'
import { cluster, type NodeName } from './cluster-harness.ts'
import { commandsOf } from './docs-recipes.ts'

export const NODES: readonly NodeName[] = ['a', 'b']
export const NAMESPACE = 'checkpoint-agent'
export const STATE = '/var/lib/checkpoint-agent'
export const INSTANCE = `app.kubernetes.io/instance=${NAMESPACE}`

/** With a build of the image. */
export const INSTALL_MS = 1_200_000
export const HELM_MS = 400_000

/** The commands of docs/install.md, with the image of the working tree: two for the namespace, then helm, then the wait. */
export const INSTALLATION = commandsOf('helm install').map((command) =>
  command.replace('image.repository=registry.example.com/checkpoint-agent', imageFlag()),
)

/** The chart with these values, ready on both nodes, which know of no earlier agent. */
export async function installChart(values: object = {}): Promise<void> {
  await loadAgentImage()
  await forgetState()
  await makeNamespace(NAMESPACE, { 'pod-security.kubernetes.io/enforce': 'privileged' })
  await runHelm('install', values)
}

export async function upgradeChart(values: object): Promise<void> {
  await runHelm('upgrade', values)
}

/** All that `installChart` has made, on the nodes too, also when the installation failed half way. */
export async function removeChart(): Promise<void> {
  await cluster.runCommand(['helm', 'uninstall', NAMESPACE, '-n', NAMESPACE, '--wait'], { timeoutMs: HELM_MS })
  // the agents go with it, and only then the state that they would write anew
  await cluster.kubectl(['delete', 'namespace', NAMESPACE, '--ignore-not-found'], { timeoutMs: HELM_MS })
  await forgetState()
}

export async function forgetState(): Promise<void> {
  for (const node of NODES) await cluster.inNode(node, ['rm', '-rf', STATE, `${CHECKPOINTS}/.checkpoint-agent`])
}

/** On the side of the server, so that one that is there stays. */
export async function makeNamespace(name: string, labels: object = {}): Promise<void> {
  const manifest = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } }
  await cluster.kubectl(['apply', '--server-side', '-f', '-'], { input: stringify(manifest) })
}

/** helm is content when as many agents are missing as an upgrade may replace at once: with two nodes, one. */
export async function waitForAgents(): Promise<void> {
  await cluster.kubectl(['-n', NAMESPACE, 'rollout', 'status', 'daemonset', NAMESPACE], { timeoutMs: HELM_MS })
}

async function runHelm(verb: 'install' | 'upgrade', values: object): Promise<void> {
  const command = ['helm', verb, NAMESPACE, CHART, '--namespace', NAMESPACE, '--wait', '--timeout', '5m', '-f', '-']
  const input = stringify({ ...values, image: AGENT_IMAGE })
  const { code, stdout, stderr } = await cluster.runCommand(command, { timeoutMs: HELM_MS, input })
  if (code !== 0) throw new Error(`helm ${verb}: ${stderr}${stdout}\n${await whatPodsSay()}`)
  await waitForAgents()
}

async function whatPodsSay(): Promise<string> {
  const asks = [
    ['get', 'pods', '-o', 'wide'],
    ['logs', '-l', INSTANCE, '--tail', '20', '--prefix'],
    ['get', 'events'],
  ]
  const answers = asks.map((args) => cluster.runCommand(['kubectl', '-n', NAMESPACE, ...args]))
  return (await Promise.all(answers)).map(({ stdout, stderr }) => stdout + stderr).join('\n')
}

function imageFlag(): string {
  return Object.entries(AGENT_IMAGE)
    .map(([key, value]) => `image.${key}=${value}`)
    .join()
}
