export interface DemoPod {
  readonly namespace: string
  readonly name: string
  readonly containers: readonly DemoContainer[]
}

export interface DemoContainer {
  readonly name: string
  readonly does: string
  readonly memoryBytes: number
  /** For busybox. */
  readonly command: readonly string[]
}

const LEDGER_MIB = 32

/** Something small to recognise in a checkpoint: a number, two containers that belong together, and some memory. */
export const DEMO_PODS: readonly DemoPod[] = [
  {
    namespace: 'shop',
    name: 'web-0',
    containers: [container('counter', 'counts in /tmp/count', 'echo $n >/tmp/count.new; mv /tmp/count.new /tmp/count')],
  },
  {
    namespace: 'shop',
    name: 'cart-0',
    containers: [
      container('cart', 'fills /tmp/cart', 'echo "$n apples" >>/tmp/cart'),
      container('prices', 'changes /tmp/price', 'echo "$((n % 7 + 1)) cents" >/tmp/price'),
    ],
  },
  {
    namespace: 'bank',
    name: 'ledger-1',
    containers: [
      {
        ...container('ledger', `holds ${LEDGER_MIB} MiB of memory`, ':'),
        memoryBytes: LEDGER_MIB * 1024 * 1024,
        // dd holds all of it: what reads from it takes nothing
        command: ['sh', '-c', `dd if=/dev/urandom bs=${LEDGER_MIB}M count=1 2>/dev/null | while :; do sleep 1; done`],
      },
    ],
  },
]

export function describePod({ namespace, name, containers }: DemoPod): string {
  return `${namespace}/${name}: ${containers.map((each) => `${each.name} (${each.does})`).join(', ')}`
}

function container(name: string, does: string, step: string): DemoContainer {
  const command = ['sh', '-c', `n=0; while :; do n=$((n+1)); ${step}; sleep 1; done`]
  return { name, does, memoryBytes: 128 * 1024, command }
}
