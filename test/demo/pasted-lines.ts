import { existsSync } from 'node:fs'
import { expect } from 'vitest'
import { paste, type RunningDemo } from './running-demo.ts'

/** Runs every line that the demo prints, in its order, and expects what the demo says of it. */
export function expectPrintedLinesWork(demo: RunningDemo, pasteLine: (command: string) => string = paste): void {
  const commands = demo.commands()
  expect(commands.length).toBe(8)
  const [containers, kubelet, job, pod, jobs, node, list, count] = commands.map((command) => () => pasteLine(command))

  expect(containersIn(containers?.())).toEqual([
    'bank/ledger-1/ledger',
    'shop/cart-0/cart',
    'shop/cart-0/prices',
    'shop/web-0/counter',
  ])

  const [archive = ''] = itemsOf(kubelet?.()) as string[]
  expect(archive).toMatch(/\/checkpoint-web-0_shop-counter-[^/]+\.tar$/)
  expect(archive.startsWith(demo.running('archives'))).toBe(true)
  expect(existsSync(archive)).toBe(true)

  expect(containersIn(job?.())).toEqual(['bank/ledger-1/ledger'])
  expect(containersIn(pod?.())).toEqual(['shop/cart-0/cart', 'shop/cart-0/prices'])

  const taken = itemsOf(jobs?.()) as { state: string; reason?: string }[]
  expect(taken.map(({ state }) => state)).toEqual(['succeeded', 'succeeded', 'succeeded', 'succeeded'])
  expect(taken.map(({ reason }) => reason)).toContain('before the audit')

  expect(statusWhenCounted(node, 5)).toMatchObject({
    node: 'demo',
    canCheckpoint: { state: 'yes' },
    checkpoints: { count: 5 },
  })

  const members = (list?.() ?? '').split('\n').map((line) => line.split(' ').at(-1))
  expect(members).toEqual(expect.arrayContaining(['spec.dump', 'config.dump', 'checkpoint/inventory.img']))
  expect(Number(count?.().trim())).toBeGreaterThan(0)
}

interface NodeStatus {
  readonly node: string
  readonly canCheckpoint: object
  readonly checkpoints: { readonly count: number }
}

/** The inventory knows an archive a moment after the capture was answered, and promises that for a second later. */
function statusWhenCounted(ask: (() => string) | undefined, count: number): NodeStatus {
  const begun = performance.now()
  for (;;) {
    const status = JSON.parse(ask?.() ?? '') as NodeStatus
    if (status.checkpoints.count === count || performance.now() - begun > INVENTORY_TAKES_AT_MOST_MS) return status
  }
}

const INVENTORY_TAKES_AT_MOST_MS = 3_000

/** As `namespace/pod/container`, sorted. */
function containersIn(output: string | undefined): readonly string[] {
  const items = itemsOf(output) as { identity: { namespace: string; pod: string; container: string } }[]
  return items.map(({ identity: { namespace, pod, container } }) => `${namespace}/${pod}/${container}`).toSorted()
}

function itemsOf(output = ''): readonly unknown[] {
  return (JSON.parse(output) as { items: unknown[] }).items
}
