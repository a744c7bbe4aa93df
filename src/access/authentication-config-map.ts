import { z } from 'zod'
import type { ApiServer } from './api-server-client.ts'
import { ApiServerError } from './api-server-error.ts'
import { parseBundle } from './certificate-bundle.ts'
import { NO_AUTHORITIES, type Authorities } from './client-authorities.ts'

const PATH = '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication'

const answerSchema = z.object({ data: z.record(z.string(), z.string()).nullish() })
const listSchema = z.array(z.string())

/**
 * Reads the CAs that the cluster trusts for clients and for front proxies. Throws ApiServerError if
 * the request fails or its content cannot be used; keep the previous CAs then.
 */
export async function readAuthenticationConfigMap(api: ApiServer): Promise<Authorities> {
  const parsed = answerSchema.safeParse(await api.send('GET', PATH))
  if (!parsed.success) throw new ApiServerError('the answer of the API server is no ConfigMap')
  const data = parsed.data.data ?? {}
  try {
    const proxyBundle = data['requestheader-client-ca-file']
    return {
      clients: parseBundle(data['client-ca-file'] ?? ''),
      frontProxy:
        proxyBundle === undefined
          ? NO_AUTHORITIES.frontProxy
          : {
              authorities: parseBundle(proxyBundle),
              allowedNames: readList(data['requestheader-allowed-names']),
              userHeaders: readList(data['requestheader-username-headers']),
              groupHeaders: readList(data['requestheader-group-headers']),
              extraPrefixes: readList(data['requestheader-extra-headers-prefix']),
            },
    }
  } catch (cause) {
    throw new ApiServerError('the ConfigMap extension-apiserver-authentication cannot be used', { cause })
  }
}

function readList(json: string | undefined): readonly string[] {
  return json === undefined || json === '' ? [] : listSchema.parse(JSON.parse(json))
}
