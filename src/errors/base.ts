/** What all errors have in common. This file imports nothing. */
/** The common base: `error instanceof MillraceError` tells our errors from the handler's own. */
export abstract class MillraceError extends Error {
  /** Stable identifier, `ERR_MILLRACE_…`. */
  abstract readonly code: string;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** A value in a message: short, on one line, control characters escaped. */
export function show(value: unknown): string {
  if (typeof value === 'string')
    return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object';
  if (typeof value === 'function') return 'a function';
  return String(value);
}
