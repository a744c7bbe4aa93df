import { describe, expect, it } from 'vitest'
import { checkpointByKubelet } from './archive-folder.ts'
import { useChart } from './chart-fixture.ts'
import { ask, captureIn, listCheckpoints } from './installed-agents.ts'
import { NODES } from './installed-chart.ts'

const VALUES = {
  config: {
    retention: {
      schedule: '*/2 * * * * *',
      rules: [{ match: { namespace: 'shop' }, maxCount: { perContainer: 3 } }],
      // a machine with a full disk can run the tests, too
      disk: { highWatermark: '100%', lowWatermark: '99%' },
    },
    capture: { diskFloor: { percent: '0%', minFree: '0' } },
  },
}

const { folderOf } = useChart(VALUES)

describe.each(NODES)('the archives of node %s, under the chart', (node) => {
  const pod = `counter-${node}`
  const query = `?pod=${pod}&sort=takenAt`
  let kubelets: string

  it("lists the real kubelet's beside its own", async () => {
    kubelets = await checkpointByKubelet(node, pod)
    const { fileName } = await captureIn('shop', node, pod)
    const identity = { namespace: 'shop', pod, container: 'main' }
    const expected = [
      { fileName: kubelets, state: 'ready', identity: { ...identity, source: 'archive' } },
      { fileName, state: 'ready', identity: { ...identity, source: 'observed' } },
    ]
    await expect.poll(() => listCheckpoints(node, query)).toMatchObject(expected)
    const listed = await listCheckpoints(node, query)
    const digests = await Promise.all(listed.map((each) => folderOf(node).digestOf(each.fileName)))
    expect(listed.map(({ sha256 }) => sha256)).toEqual(digests)
  })

  it('go by the schedule of the policy, but for what is pinned', async () => {
    const [first] = await listCheckpoints(node, query)
    expect(await ask(node, 'PUT', `/v1/checkpoints/${first?.id ?? ''}/pin`, { reason: 'evidence' })).toMatchObject({
      status: 200,
    })
    const taken: string[] = []
    for (let count = 0; count < 4; count++) taken.push((await captureIn('shop', node, pod)).fileName)
    const expected = [kubelets, ...taken.slice(1)]
    await expect
      .poll(async () => (await listCheckpoints(node, query)).map(({ fileName }) => fileName))
      .toEqual(expected)
    const left = [...folderOf(node).list().keys()].filter((name) => name.includes(pod))
    expect(left.toSorted()).toEqual(expected.toSorted())
  })

  it('have their end in the history and in the custody log', async () => {
    const history = await ask(node, 'GET', '/v1/retention/history?limit=1000')
    const { items } = history.body as { readonly items: readonly Sweep[] }
    const sweeps = items.filter(({ removed }) => removed.count > 0)
    expect(new Set(sweeps.map(({ trigger, outcome }) => `${trigger} ${outcome}`))).toEqual(new Set(['schedule done']))
    expect(sweeps.reduce((sum, { removed }) => sum + removed.count, 0)).toBe(2)
    expect(await ask(node, 'GET', '/v1/custody/verify')).toMatchObject({ status: 200, body: { sound: true } })
  })
})

interface Sweep {
  readonly trigger: string
  readonly outcome: string
  readonly removed: { readonly count: number }
}
