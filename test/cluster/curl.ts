import { cluster } from './cluster-harness.ts'

export interface CurlAnswer {
  /** 0 where nobody answered. */
  readonly status: number
  /** Parsed, if it is JSON. */
  readonly body: unknown
}

/** The real curl, in the network of node a, from which the pods of both nodes can be reached. */
export async function curl(url: string, options: readonly string[] = []): Promise<CurlAnswer> {
  const words = ['curl', '-sk', '-m', '30', '-w', '\n%{http_code} %{content_type}', ...options, url]
  const { stdout } = await cluster.runCommand(words)
  const end = stdout.lastIndexOf('\n')
  const [status = '', type = ''] = stdout.slice(end + 1).split(' ')
  const body = stdout.slice(0, end)
  return { status: Number(status), body: type.includes('json') ? (JSON.parse(body) as unknown) : body }
}

/** As a user of the cluster who has a certificate in its folder of keys. */
export async function certificateOf(name: string): Promise<string[]> {
  const keys = `${await cluster.folder()}/keys`
  return ['--cert', `${keys}/${name}.crt`, '--key', `${keys}/${name}.key`]
}
