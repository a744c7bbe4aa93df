// Runs in the pod of `helm test`: asks every agent of the release whether it is healthy, whether it is ready, and who is
// calling. The pod's ServiceAccount has no permission on checkpoints.
import { readFileSync } from 'node:fs'
import { request } from 'node:https'

const { KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT, NAMESPACE, DAEMON_SET, SELECTOR, PORT, ACCOUNT } = process.env
const CREDENTIALS = process.env.CREDENTIALS ?? '/var/run/secrets/kubernetes.io/serviceaccount'
const TIMEOUT_MS = 10_000

const token = readFileSync(`${CREDENTIALS}/token`, 'utf8').trim()
const ca = readFileSync(`${CREDENTIALS}/ca.crt`)
const user = `system:serviceaccount:${NAMESPACE}:${ACCOUNT}`

const daemonSet = await readObject(`/apis/apps/v1/namespaces/${NAMESPACE}/daemonsets/${DAEMON_SET}`)
const pods = await readObject(`/api/v1/namespaces/${NAMESPACE}/pods?labelSelector=${encodeURIComponent(SELECTOR)}`)
const agents = pods.items.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
const failures = []

if (agents.length < Math.max(1, daemonSet.status.desiredNumberScheduled))
  failures.push(`${agents.length} of ${daemonSet.status.desiredNumberScheduled} agents have a pod`)
for (const { metadata, spec, status } of agents) {
  const problems = await findProblems(status.podIP).catch((error) => [`cannot call ${metadata.name}: ${error.message}`])
  failures.push(...problems.map((problem) => `${spec.nodeName}: ${problem}`))
  if (problems.length === 0) process.stdout.write(`${spec.nodeName}: ${metadata.name} is healthy, ready and knows its caller\n`)
}
for (const failure of failures) process.stderr.write(`${failure}\n`)
process.exitCode = failures.length === 0 ? 0 : 1

/** Resolves with a sentence for each wrong answer of an agent. */
async function findProblems(address) {
  if (address === undefined) return ['its pod has no address']
  const call = (path, headers = {}) => get({ host: address, port: PORT, path, headers, rejectUnauthorized: false })
  const problems = []
  for (const path of ['/healthz', '/readyz']) {
    const { status, text } = await call(path)
    if (status !== 200) problems.push(`${path} answers ${status}: ${text}`)
  }
  const anonymous = await call('/v1/access')
  if (anonymous.status !== 401)
    problems.push(`/v1/access answers ${anonymous.status} to a caller without credentials, not 401`)
  const known = await call('/v1/access', { Authorization: `Bearer ${token}` })
  const caller = known.status === 200 ? JSON.parse(known.text).user : undefined
  if (known.status !== 200) problems.push(`/v1/access answers ${known.status}: ${known.text}`)
  else if (caller !== user) problems.push(`/v1/access takes the caller for ${caller}, not for ${user}`)
  return problems
}

async function readObject(path) {
  const headers = { Authorization: `Bearer ${token}` }
  const { status, text } = await get({ host: KUBERNETES_SERVICE_HOST, port: KUBERNETES_SERVICE_PORT, path, headers, ca })
  if (status !== 200) throw new Error(`Cannot read ${path} from the API server: ${status} ${text}`)
  return JSON.parse(text)
}

function get(options) {
  return new Promise((resolve, reject) => {
    const sent = request({ ...options, timeout: TIMEOUT_MS }, async (answer) => {
      try {
        resolve({ status: answer.statusCode, text: (await answer.setEncoding('utf8').toArray()).join('') })
      } catch (error) {
        reject(error)
      }
    })
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} seconds`)))
    sent.on('error', reject)
    sent.end()
  })
}
