import { describe, expect, it } from 'vitest'
import { readPolicy } from '../../src/retention/policy-parser.ts'
import { helm, render } from './rendered-chart.ts'

const EVERYTHING = {
  schedule: '0 */10 * * * *',
  timeZone: 'Europe/Berlin',
  rules: [
    {
      match: { namespace: 'payments-*', pod: 'web-*', workload: 7, container: 'main' },
      keepLast: 2,
      keepHourly: '6',
      keepDaily: 7,
      keepWeekly: 4,
      keepWithin: '1h30m',
      maxCount: { perContainer: 5, perPod: '6', perWorkload: 7, perWorkloadContainer: 8, perNamespace: 50 },
      maxTotalSize: { perNamespace: '40Gi', perPod: 1_000_000 },
      maxAge: '14d',
      maxSize: '1.5GiB',
      orphans: '0s',
    },
    { match: { engine: 'cri-o', identitySource: 'observed' }, maxAge: { perPod: '3d' }, maxSize: { perPod: '4Ki' } },
    { match: { workload: 'batch' }, maxCount: 3, maxTotalSize: '10G' },
  ],
  disk: { highWatermark: '85%', lowWatermark: '7.25%', minFree: '10Gi' },
  incompleteAfter: '24h',
  damagedAfter: '7d',
  orphanGrace: '500ms',
}

const ACCEPTED = [
  EVERYTHING,
  { schedule: '' },
  { schedule: '*/10 * * * *' },
  { rules: [], allowDeleteEverything: true },
  { rules: [{ maxCount: 0 }], allowDeleteEverything: 'true' },
  { disk: { highWatermark: '100%', lowWatermark: '99%' } },
]

const REFUSED: readonly { readonly policy: object; readonly says: RegExp }[] = [
  { policy: {}, says: /retention': minProperties/ },
  { policy: { schedul: '*/10 * * * *' }, says: /'schedul' not allowed/ },
  { policy: { schedule: 'daily' }, says: /retention\/schedule/ },
  { policy: { rules: { maxCount: 3 } }, says: /retention\/rules': got object, want array/ },
  { policy: { rules: [{}] }, says: /rules\/0': minProperties/ },
  { policy: { rules: [{ maxCont: 3 }] }, says: /'maxCont' not allowed/ },
  { policy: { rules: [{ match: { names: 'a' }, maxCount: 3 }] }, says: /'names' not allowed/ },
  { policy: { rules: [{ match: { pod: 'a b' }, maxCount: 3 }] }, says: /match\/pod/ },
  { policy: { rules: [{ maxAge: 14 }] }, says: /maxAge': got number/ },
  { policy: { rules: [{ maxAge: '1.5h' }] }, says: /maxAge/ },
  { policy: { rules: [{ maxAge: '30m1h' }] }, says: /maxAge/ },
  { policy: { rules: [{ maxAge: '' }] }, says: /maxAge/ },
  { policy: { rules: [{ maxAge: { perNode: '3d' } }] }, says: /'perNode' not allowed/ },
  { policy: { rules: [{ maxCount: -1 }] }, says: /maxCount/ },
  { policy: { rules: [{ maxCount: 'many' }] }, says: /maxCount/ },
  { policy: { rules: [{ maxSize: '5 GB' }] }, says: /maxSize/ },
  { policy: { rules: [{ maxTotalSize: { perPod: '10Gx' } }] }, says: /maxTotalSize\/perPod/ },
  { policy: { rules: [{ keepLast: 0 }] }, says: /keepLast/ },
  { policy: { rules: [{ keepDaily: '0' }] }, says: /keepDaily/ },
  { policy: { rules: [{ keepWithin: 36 }] }, says: /keepWithin/ },
  { policy: { disk: { highWatermark: '85' } }, says: /highWatermark/ },
  { policy: { disk: { highWatermark: 0.85 } }, says: /highWatermark/ },
  { policy: { disk: { lowWatermark: '101%' } }, says: /lowWatermark/ },
  { policy: { disk: { minFree: '10%' } }, says: /minFree/ },
  { policy: { incompleteAfter: 24 }, says: /incompleteAfter/ },
  { policy: { allowDeleteEverything: 'yes' }, says: /allowDeleteEverything/ },
]

describe.skipIf(helm === undefined)('the schema of config.retention', () => {
  it.each(ACCEPTED)('accepts what the agent accepts: %j', (policy) => {
    expect(readPolicy(policy).mistakes).toEqual([])
    expect(() => renderPolicy(policy)).not.toThrow()
  })

  it.each(REFUSED)('refuses what the agent refuses: $policy', ({ policy, says }) => {
    expect(readPolicy(policy).mistakes).not.toEqual([])
    expect(() => renderPolicy(policy)).toThrow(says)
  })
})

function renderPolicy(policy: object): void {
  render('--set-json', `config.retention=${JSON.stringify(policy)}`)
}
