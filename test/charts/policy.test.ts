import { dirname } from 'node:path'
import { describe, expect, it } from 'vitest'
import { configOf, helm, ofKind, podOf, render, renderScenario, SCENARIOS } from './rendered-chart.ts'

const RUNTIME_DIRECTORIES: Readonly<Record<string, string>> = {
  k3s: '/run/k3s/containerd',
  rke2: '/run/k3s/containerd',
  microk8s: '/var/snap/microk8s/common/run',
  k0s: '/run/k0s',
  crio: '/run/crio',
  openshift: '/run/crio',
}
const TAKE_OWNERSHIP = ['CHOWN', 'FOWNER', 'DAC_READ_SEARCH']

describe.skipIf(helm === undefined).each(SCENARIOS)('what the pods may do: %s', (scenario) => {
  const manifests = helm === undefined ? [] : renderScenario(scenario)

  it('no privileges, no host namespaces, a read-only root', () => {
    const pod = podOf(manifests)
    expect(pod).toMatchObject({ hostNetwork: false, hostPID: false, hostIPC: false })
    expect(pod).toMatchObject({ securityContext: { seccompProfile: { type: 'RuntimeDefault' } } })
    expect(Object.keys(pod).filter((key) => /initContainers|ephemeral/.test(key))).toEqual([])
    expect(pod.containers.map(({ securityContext }) => securityContext)).toEqual([
      {
        runAsUser: 0,
        runAsGroup: 0,
        privileged: false,
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: scenario === 'access' ? { drop: ['ALL'], add: TAKE_OWNERSHIP } : { drop: ['ALL'] },
      },
    ])
    expect(JSON.stringify(pod)).not.toMatch(/hostPort|procMount|unconfined|Bidirectional|devices/i)
  })

  it('sees of the node what a value asks for, at the same path, and nothing else', () => {
    const config = configOf(manifests)
    const pod = podOf(manifests)
    const { socket } = config.server
    const justified: Record<string, [string, { readOnly: boolean }]> = {
      [config.checkpoints.directory]: [config.checkpoints.directory, { readOnly: false }],
      [config.state.directory]: [config.state.directory, { readOnly: false }],
      [RUNTIME_DIRECTORIES[scenario] ?? '/run/containerd']: [
        RUNTIME_DIRECTORIES[scenario] ?? '/run/containerd',
        { readOnly: true },
      ],
      ...(socket && scenario === 'socket-only' ? { [dirname(socket)]: [dirname(socket), { readOnly: false }] } : {}),
      ...(['crio', 'openshift'].includes(scenario) ? { '/sys/fs/cgroup': ['/host/cgroup', { readOnly: false }] } : {}),
      ...(scenario === 'crio'
        ? { [config.runtime.crioStorage]: [config.runtime.crioStorage, { readOnly: true }] }
        : {}),
    }
    const mounts = pod.containers[0]?.volumeMounts ?? []
    const seen = pod.volumes.flatMap(({ name, hostPath }) =>
      hostPath === undefined
        ? []
        : mounts
            .filter((mount) => mount.name === name)
            .map(({ mountPath, readOnly = false }) => [hostPath.path, [mountPath, { readOnly }]] as const),
    )
    expect(Object.fromEntries(seen)).toEqual(justified)
    expect(seen).toHaveLength(Object.keys(justified).length)
  })

  it('runs on Linux nodes only', () => {
    expect(podOf(manifests).nodeSelector).toMatchObject({ 'kubernetes.io/os': 'linux' })
  })

  it('a token only to ask the API server with', () => {
    expect(podOf(manifests).automountServiceAccountToken).toBe(scenario !== 'socket-only')
  })
})

describe.skipIf(helm === undefined)('where the runtime has no call to resume a container', () => {
  it.each(['crio', 'openshift'])('the agent knows where the cgroups of the node are: %s', (scenario) => {
    expect(configOf(renderScenario(scenario)).freezeGuard.cgroupRoot).toBe('/host/cgroup')
  })
})

describe.skipIf(helm === undefined)('the network of the pods', () => {
  it('nobody comes in but the node, and the agent calls the API server only', () => {
    expect(policyOf()).toMatchObject({
      policyTypes: ['Ingress', 'Egress'],
      ingress: [],
      egress: [{ ports: [{ port: 443 }, { port: 6443 }] }],
    })
  })

  it('Prometheus comes in when it is told to', () => {
    const ports = [{ protocol: 'TCP', port: 'agent' }]
    expect(policyOf('--set', 'metrics.podMonitor.enabled=true')).toMatchObject({
      ingress: [{ from: [{ namespaceSelector: {} }], ports }],
    })
  })

  it('is closed altogether without a port', () => {
    expect(ofKind(renderScenario('socket-only'), 'NetworkPolicy')[0]?.['spec']).toMatchObject({
      ingress: [],
      egress: [],
    })
  })
})

describe.skipIf(helm === undefined)('on OpenShift', () => {
  it('the constraints allow what the pods have', () => {
    const [constraints] = ofKind(renderScenario('openshift'), 'SecurityContextConstraints')
    expect(constraints).toMatchObject({
      allowPrivilegedContainer: false,
      allowedCapabilities: [],
      seLinuxContext: { seLinuxOptions: { type: 'spc_t' } },
      users: ['system:serviceaccount:ckpt:agent-checkpoint-agent'],
    })
    expect(podOf(renderScenario('openshift'))).toMatchObject({
      securityContext: { seLinuxOptions: { type: 'spc_t' } },
    })
  })

  it('and the capabilities only with them', () => {
    const [constraints] = ofKind(
      render('--set', 'preset=openshift,permissions.takeOwnership=true'),
      'SecurityContextConstraints',
    )
    expect(constraints).toMatchObject({ allowedCapabilities: TAKE_OWNERSHIP })
  })
})

describe.skipIf(helm === undefined)('on OpenShift, with an extra volume', () => {
  it('the constraints allow its type too', () => {
    const flags = ['preset=openshift', 'extraVolumes[0].name=scratch', 'extraVolumes[0].emptyDir.medium=Memory']
    const [constraints] = ofKind(render('--set', flags.join()), 'SecurityContextConstraints')
    expect(constraints).toMatchObject({ volumes: ['hostPath', 'configMap', 'secret', 'projected', 'emptyDir'] })
  })
})

function policyOf(...flags: string[]): unknown {
  return ofKind(render(...flags), 'NetworkPolicy')[0]?.['spec']
}
