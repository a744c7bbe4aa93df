import type { Policy } from '../retention/policy.ts'
import type { SettingValues } from './settings.ts'

/**
 * The complete, validated configuration: durations in milliseconds, sizes in bytes, all paths
 * absolute.
 */
export interface Config {
  readonly node: { readonly name: string }
  readonly checkpoints: {
    readonly directory: string
    readonly permissions: 'enforce' | 'report'
    readonly rescanIntervalMs: number
  }
  readonly state: { readonly directory: string }
  readonly runtime: {
    /** Undefined to search the usual places. */
    readonly socket: string | undefined
    readonly containerdNamespace: string
    readonly crioStorage: string
  }
  readonly server: {
    /** `host:port`, with an IPv6 host in brackets. Undefined to disable TCP. */
    readonly address: string | undefined
    /** Undefined to disable the unix socket. At least one of address and socket is set. */
    readonly socket: string | undefined
    readonly kubeletEndpoint: boolean
    readonly limits: LimitsConfig
    readonly auth: AuthConfig
    readonly tls: TlsConfig
  }
  readonly capture: {
    readonly concurrency: number
    readonly queueLimit: number
    readonly maxDurationMs: number
    /**
     * Shortest timeout on the kubelet's route; smaller ones are raised to it. A whole number of
     * seconds.
     */
    readonly minimumWaitMs: number
    readonly diskFloor: { readonly fraction: number; readonly minFreeBytes: number }
    /** Undefined to use the factor of the container engine. */
    readonly sizeFactor: number | undefined
  }
  readonly content: {
    readonly concurrency: number
    readonly perUser: number
    readonly maxHoldMs: number
    readonly requireEncryption: boolean
    /** Recipients as `age1…`, without duplicates. */
    readonly recipients: readonly string[]
  }
  readonly inspection: { readonly concurrency: number; readonly perUser: number }
  readonly custody: { readonly maxBytes: number }
  readonly retention: {
    readonly policy: Policy
    /** Configuration file that the policy is reloaded from; undefined without one. */
    readonly file: string | undefined
  }
  readonly freezeGuard: {
    readonly foreign: 'report' | 'resume'
    readonly foreignAfterMs: number
    readonly intervalMs: number
    readonly cgroupRoot: string
  }
  readonly shutdown: { readonly captureGraceMs: number }
  readonly log: { readonly level: LogLevel }
  readonly debug: {
    /** Undefined in production: the agent never kills itself. */
    readonly failPoint: string | undefined
  }
}

export interface LimitsConfig {
  readonly connections: number
  /** Captures per minute and user. */
  readonly capturesPerMinute: number
  /** Downloads per minute and user. */
  readonly contentPerMinute: number
  /** Inspections per minute and user. */
  readonly inspectionsPerMinute: number
  /** Verifications per minute and user. */
  readonly verifiesPerMinute: number
  /** Pins, unpins and removals per minute and user. */
  readonly changesPerMinute: number
  /** Permission queries per minute and user. */
  readonly accessPerMinute: number
}

export type AuthConfig =
  | { readonly mode: 'none' }
  | { readonly mode: 'tokens'; readonly tokensFile: string }
  | {
      readonly mode: 'kubernetes'
      readonly api: { readonly url: string; readonly tokenFile: string; readonly caFile: string }
      /** Empty for the audience of the API server. */
      readonly audiences: readonly string[]
      readonly tokenTtlMs: number
      readonly allowTtlMs: number
      readonly denyTtlMs: number
      readonly clientCaFile: string | undefined
      readonly clusterCertificates: boolean
    }

export type TlsConfig =
  | { readonly kind: 'none' }
  | { readonly kind: 'files'; readonly certFile: string; readonly keyFile: string }
  | { readonly kind: 'selfSigned' }

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** Values from the environment for settings that are not given. */
export interface Fallbacks {
  readonly nodeName: string
  /** API server of the cluster that this pod runs in. */
  readonly apiServer: string | undefined
}

export interface ConfigParts {
  readonly fallbacks: Fallbacks
  readonly policy: Policy
  readonly configFile: string | undefined
}

/** Builds the configuration from validated settings. */
export function toConfig(values: SettingValues, { fallbacks, policy, configFile }: ConfigParts): Config {
  return {
    node: { name: values['node.name'] || fallbacks.nodeName },
    checkpoints: {
      directory: values['checkpoints.directory'],
      permissions: values['checkpoints.permissions'],
      rescanIntervalMs: values['checkpoints.rescanInterval'],
    },
    state: { directory: values['state.directory'] },
    runtime: {
      socket: values['runtime.socket'] || undefined,
      containerdNamespace: values['runtime.containerdNamespace'],
      crioStorage: values['runtime.crioStorage'],
    },
    server: {
      address: values['server.address'] || undefined,
      socket: values['server.socket'] || undefined,
      kubeletEndpoint: values['server.kubeletEndpoint'],
      limits: {
        connections: values['server.limits.connections'],
        capturesPerMinute: values['server.limits.capturesPerMinute'],
        contentPerMinute: values['server.limits.contentPerMinute'],
        inspectionsPerMinute: values['server.limits.inspectionsPerMinute'],
        verifiesPerMinute: values['server.limits.verifiesPerMinute'],
        changesPerMinute: values['server.limits.changesPerMinute'],
        accessPerMinute: values['server.limits.accessPerMinute'],
      },
      auth: toAuth(values, fallbacks),
      tls: toTls(values),
    },
    capture: {
      concurrency: values['capture.concurrency'],
      queueLimit: values['capture.queueLimit'],
      maxDurationMs: values['capture.maxDuration'],
      minimumWaitMs: values['capture.minimumWait'],
      diskFloor: {
        fraction: values['capture.diskFloor.percent'],
        minFreeBytes: values['capture.diskFloor.minFree'],
      },
      sizeFactor: values['capture.sizeFactor'],
    },
    content: {
      concurrency: values['content.concurrency'],
      perUser: values['content.perUser'],
      maxHoldMs: values['content.maxHold'],
      requireEncryption: values['content.requireEncryption'],
      recipients: values['content.recipients'],
    },
    inspection: {
      concurrency: values['inspection.concurrency'],
      perUser: values['inspection.perUser'],
    },
    custody: { maxBytes: values['custody.maxSize'] },
    retention: { policy, file: configFile },
    freezeGuard: {
      foreign: values['freezeGuard.foreign'],
      foreignAfterMs: values['freezeGuard.foreignAfter'],
      intervalMs: values['freezeGuard.interval'],
      cgroupRoot: values['freezeGuard.cgroupRoot'],
    },
    shutdown: { captureGraceMs: values['shutdown.captureGrace'] },
    log: { level: values['log.level'] },
    debug: { failPoint: values['debug.failPoint'] || undefined },
  }
}

function toAuth(values: SettingValues, { apiServer }: Fallbacks): AuthConfig {
  const mode = values['server.auth.mode']
  if (mode === 'none') return { mode }
  if (mode === 'tokens') return { mode, tokensFile: values['server.auth.tokensFile'] }
  return {
    mode,
    api: {
      url: values['kubernetes.apiServer'] ?? apiServer ?? '',
      tokenFile: values['kubernetes.tokenFile'],
      caFile: values['kubernetes.caFile'],
    },
    audiences: values['server.auth.audiences'],
    tokenTtlMs: values['server.auth.tokenTtl'],
    allowTtlMs: values['server.auth.allowTtl'],
    denyTtlMs: values['server.auth.denyTtl'],
    clientCaFile: values['server.auth.clientCaFile'] || undefined,
    clusterCertificates: values['server.auth.clusterCertificates'],
  }
}

function toTls(values: SettingValues): TlsConfig {
  if (values['server.tls.selfSigned']) return { kind: 'selfSigned' }
  const certFile = values['server.tls.certFile']
  const keyFile = values['server.tls.keyFile']
  if (certFile !== '' && keyFile !== '') return { kind: 'files', certFile, keyFile }
  // Tokens must not cross a network in plaintext.
  return values['server.auth.mode'] === 'none' ? { kind: 'none' } : { kind: 'selfSigned' }
}
