/** One thing to try: what it shows, and the line to paste. */
export interface NextStep {
  readonly title: string
  readonly command: string
}

export interface NextStepFacts {
  readonly port: number
  readonly socketPath: string
  /** Of the first checkpoint, of shop/web-0/counter. */
  readonly archivePath: string
  readonly hasJq: boolean
  /** Whether a variable such as http_proxy would send even 127.0.0.1 through a proxy. */
  readonly hasProxy: boolean
  /** Files and socket are root's, and the other terminal is probably not. */
  readonly needsSudo: boolean
}

/** Every one works by itself, in any order, as often as one likes. */
export function nextSteps(facts: NextStepFacts): readonly NextStep[] {
  const { port, socketPath, archivePath, hasJq } = facts
  const base = `http://127.0.0.1:${port}`
  const sudo = facts.needsSudo ? 'sudo ' : ''
  const curl = (rest: string) =>
    `curl -sS ${facts.hasProxy ? "--noproxy '*' " : ''}${hasJq ? '' : String.raw`-w '\n' `}${rest}${hasJq ? ' | jq .' : ''}`
  const capture = (body: object) =>
    curl(`-X POST -H 'Content-Type: application/json' -d '${JSON.stringify(body)}' '${base}/v1/captures?wait=true'`)
  const archive = quoted(archivePath)
  return [
    { title: 'The running containers', command: curl(`${base}/v1/containers`) },
    {
      title: "A checkpoint over the kubelet's route, with the kubelet's answer",
      command: curl(`-X POST ${base}/checkpoint/shop/web-0/counter`),
    },
    {
      title: 'A checkpoint that is a job with a reason, waited for',
      command: capture({ namespace: 'bank', pod: 'ledger-1', container: 'ledger', reason: 'before the audit' }),
    },
    { title: 'Every container of a pod', command: capture({ namespace: 'shop', pod: 'cart-0' }) },
    { title: 'The jobs, with their phases', command: curl(`${base}/v1/captures`) },
    {
      title: 'The node: its runtime, its disk, whether it can checkpoint (here over the unix socket)',
      command: sudo + curl(`--unix-socket ${quoted(socketPath)} http://localhost/v1/node`),
    },
    { title: 'What is in an archive', command: `${sudo}tar -tvf ${archive}` },
    {
      title: 'How far the counter had counted at that moment',
      command: `${sudo}tar -xOf ${archive} rootfs-diff.tar | tar -xzO tmp/count`,
    },
  ]
}

/** For a shell; a path that needs no quotes gets none. */
function quoted(path: string): string {
  return /^[\w./:@+-]+$/.test(path) ? path : `'${path.replaceAll("'", String.raw`'\''`)}'`
}
