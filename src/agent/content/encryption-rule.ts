import { parseAgeRecipient, type AgeRecipient } from '../../encryption/age-recipient.ts'
import { InvalidInputError, NotAllowedError } from '../../shared/errors.ts'

export interface EncryptionRule {
  /** Whether content may leave the node only encrypted to `recipients`. */
  readonly isRequired: boolean
  /** Recipients (`age1…`), validated when the configuration was read. */
  readonly recipients: readonly string[]
}

/** Maximum number of recipients of a request. Each one costs a key agreement. */
export const MAX_RECIPIENTS = 20

/**
 * Returns the recipients to encrypt to, or none for unencrypted content. Throws InvalidInputError (`InvalidRecipient`,
 * `TooManyRecipients`) or NotAllowedError (`EncryptionRequired`, `RecipientNotAllowed`).
 */
export function chooseRecipients(rule: EncryptionRule, wanted: readonly string[]): readonly AgeRecipient[] {
  // Checked before anything is parsed, since the check of each recipient costs a key agreement.
  const count = new Set(wanted).size
  if (count > MAX_RECIPIENTS) {
    throw new InvalidInputError(`Cannot encrypt to ${count} recipients: at most ${MAX_RECIPIENTS} are possible`, {
      code: 'TooManyRecipients',
    })
  }
  const distinct = [...new Map(wanted.map(parseAgeRecipient).map((recipient) => [recipient.text, recipient])).values()]
  if (!rule.isRequired) return distinct
  if (distinct.length === 0) throw encryptionRequired(rule)
  const foreign = distinct.find(({ text }) => !rule.recipients.includes(text))
  if (foreign !== undefined) {
    throw new NotAllowedError(`Cannot encrypt to "${foreign.text}": this node encrypts to fixed recipients only`, {
      code: 'RecipientNotAllowed',
      hint: `Allowed are: ${rule.recipients.join(', ')}`,
    })
  }
  return distinct
}

/** Throws NotAllowedError if content without an encrypted form may not be sent. */
export function assertPlainAllowed(rule: EncryptionRule): void {
  if (rule.isRequired) throw encryptionRequired(rule, 'Download the archive with')
}

function encryptionRequired({ recipients }: EncryptionRule, how = 'Add'): NotAllowedError {
  const query = recipients.map((recipient) => `recipient=${recipient}`).join('&')
  return new NotAllowedError('Cannot hand out plain content: this node gives it out encrypted only', {
    code: 'EncryptionRequired',
    hint: `${how} one or more of these to the query: ${query}`,
  })
}
