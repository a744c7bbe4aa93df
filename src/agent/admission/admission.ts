import { UnavailableError } from '../../shared/errors.ts'
import { escapeUnreadable } from '../../shared/readable-text.ts'
import { Places, type PlaceLimits, type PlaceTimes } from './places.ts'

export interface AdmissionOptions {
  readonly content: PlaceLimits
  readonly inspection: PlaceLimits
  readonly times?: Partial<PlaceTimes>
}

/**
 * Limits concurrent downloads and inspections of archives. An inspection costs memory and time that depend on the
 * archive's content.
 */
export class Admission {
  readonly streams: Places
  readonly inspections: Places

  constructor({ content, inspection, times = {} }: AdmissionOptions) {
    this.streams = new Places({
      limits: content,
      times,
      refusal: ({ limit, user, taken }) => {
        const why =
          limit === 'perUser'
            ? `"${escapeUnreadable(user)}" reads ${taken} at once already`
            : `${taken} are being read at once`
        return new UnavailableError(`Cannot hand out content now: ${why}`, {
          code: 'TooManyDownloads',
          hint: `Ask again when one has ended, or have content.${limit} raised.`,
        })
      },
    })
    this.inspections = new Places({
      limits: inspection,
      times,
      refusal: ({ limit, user, taken }) => {
        const why =
          limit === 'perUser'
            ? `"${escapeUnreadable(user)}" has ${taken} looked into at once already`
            : `${taken} are being looked into at once`
        return new UnavailableError(`Cannot look into an archive now: ${why}`, {
          code: 'TooManyInspections',
          hint: `Ask again when one has ended, or have inspection.${limit} raised.`,
        })
      },
    })
  }
}
