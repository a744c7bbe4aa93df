import { createServer, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TrustedAuthorities } from '../../src/access/client-authorities.ts'
import type { ShownCertificates } from '../../src/access/credentials.ts'
import { certificatesOf, clientVerification, noteClientCertificates } from '../../src/http/client-certificates.ts'
import { TestAuthority, type MadeCertificate } from './certificate-maker.ts'

let serving: Promise<MadeCertificate> | undefined

/** What a connection shows after a real handshake with this certificate, as the agent's listener makes it. */
export async function showCertificate(
  { key, certificate }: MadeCertificate,
  authorities: TrustedAuthorities,
): Promise<ShownCertificates> {
  serving ??= TestAuthority.make({ subject: 'CN=server' }).then((ca) => ca.issue({ subject: 'CN=server', usages: [] }))
  const server = await serving
  let shown: ShownCertificates | undefined
  const listener = createServer(
    {
      key: server.key,
      cert: server.certificate,
      requestCert: true,
      rejectUnauthorized: false,
      ...clientVerification(authorities),
    },
    (req, res) => {
      shown = certificatesOf(req.socket)
      res.end()
    },
  )
  noteClientCertificates(listener, authorities)
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  try {
    const { port } = listener.address() as AddressInfo
    await new Promise<void>((resolve, reject) => {
      const call = request(
        {
          host: '127.0.0.1',
          port,
          key,
          cert: certificate,
          agent: false,
          rejectUnauthorized: false,
          // A client that holds nothing back, however weak it is.
          ciphers: 'DEFAULT@SECLEVEL=0',
        },
        (answer) => answer.resume().on('end', resolve),
      )
      call.on('error', reject).end()
    })
  } finally {
    listener.close()
    listener.closeAllConnections()
  }
  if (shown === undefined) throw new Error('The connection showed no certificate')
  return shown
}
