// Why there is no picture: the errors of `taskodec.errors` that a decoder raises, with the same meaning.

/** A stream cannot be decoded. `title` says in a word or two why. */
export class StreamError extends Error {
  get title() {
    return 'Not decoded';
  }
}

/** Truncated, altered, or with impossible values. */
export class DamagedStreamError extends StreamError {
  get title() {
    return 'Damaged';
  }
}

/** Made by another version, or larger than the stated limit. */
export class UnsupportedStreamError extends StreamError {
  get title() {
    return 'Not supported';
  }
}

/** Needs other weights of the codec or the adapter than those that are here. */
export class MismatchError extends StreamError {
  get title() {
    return 'Other weights';
  }
}

/** The decoder itself, its graphs or tables, is missing or altered. */
export class WeightsError extends Error {
  get title() {
    return 'No decoder';
  }
}
