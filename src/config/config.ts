import type { Policy } from '../retention/policy.ts'
import type { SettingValues } from './settings.ts'

/** How the agent runs, complete and checked: durations in milliseconds, sizes in bytes, all paths absolute. */
export interface Config {
  readonly node: { readonly name: string }
  readonly checkpoints: {
    readonly directory: string
    readonly permissions: 'enforce' | 'report'
    readonly rescanIntervalMs: number
  }
  readonly state: { readonly directory: string }
  readonly runtime: {
    /** Undefined: look for it in the usual places. */
    readonly socket: string | undefined
    readonly containerdNamespace: string
    readonly crioStorage: string
  }
  readonly server: {
    /** `host:port`, an IPv6 host in brackets. Undefined: no TCP. */
    readonly address: string | undefined
    /** Undefined: no unix socket. At least one of the two is there. */
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
    /** A whole number of seconds. */
    readonly minimumWaitMs: number
    readonly diskFloor: { readonly fraction: number; readonly minFreeBytes: number }
    /** Undefined: by engine. */
    readonly sizeFactor: number | undefined
  }
  readonly content: {
    readonly concurrency: number
    readonly perUser: number
    readonly maxHoldMs: number
    readonly requireEncryption: boolean
    /** `age1…`, each once. */
    readonly recipients: readonly string[]
  }
  readonly inspection: { readonly concurrency: number; readonly perUser: number }
  readonly custody: { readonly maxBytes: number }
  readonly retention: {
    readonly policy: Policy
    /** Where the policy came from, and its next version will; undefined: nobody wrote one. */
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
    /** Undefined: the agent does not kill itself anywhere. */
    readonly failPoint: string | undefined
  }
}

export interface LimitsConfig {
  readonly connections: number
  /** Of one user. */
  readonly capturesPerMinute: number
  /** Of one user. */
  readonly contentPerMinute: number
  /** Of one user. */
  readonly inspectionsPerMinute: number
  /** Of one user. */
  readonly verifiesPerMinute: number
  /** Of one user. */
  readonly changesPerMinute: number
  /** Of one user. */
  readonly accessPerMinute: number
}

export type AuthConfig =
  | { readonly mode: 'none' }
  | { readonly mode: 'tokens'; readonly tokensFile: string }
  | {
      readonly mode: 'kubernetes'
      readonly api: { readonly url: string; readonly tokenFile: string; readonly caFile: string }
      /** Empty: the API server's own. */
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

/** What the surroundings say where a setting says nothing. */
export interface Fallbacks {
  readonly nodeName: string
  /** Of the cluster that this is a pod of. */
  readonly apiServer: string | undefined
}

export interface ConfigParts {
  readonly fallbacks: Fallbacks
  readonly policy: Policy
  readonly configFile: string | undefined
}

/** Puts checked settings in their places. */
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
  // Tokens must not cross a network in plain.
  return values['server.auth.mode'] === 'none' ? { kind: 'none' } : { kind: 'selfSigned' }
}
