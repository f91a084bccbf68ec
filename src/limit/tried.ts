/**
 * Which lanes each gate has resumed since something happened last: a start, or whatever began the round of
 * claims. To resume them again would change nothing, and two gates could send lanes to each other for ever.
 * So each gate resumes a lane once, and once more when its level turned out to be another than was known.
 */
export class Tried {
  readonly #lanes = new Set<string>();
  readonly #again = new Set<string>();

  has(gate: string, lane: string): boolean {
    return this.#lanes.has(`${gate}\0${lane}`);
  }

  add(gate: string, lane: string): void {
    this.#lanes.add(`${gate}\0${lane}`);
  }

  /** It may be resumed once more. @returns false when it was before. */
  forgive(gate: string, lane: string): boolean {
    const key = `${gate}\0${lane}`;
    if (this.#again.has(key)) return false;
    this.#again.add(key);
    this.#lanes.delete(key);
    return true;
  }

  /** Something has happened. */
  clear(): void {
    if (this.#lanes.size === 0) return;
    this.#lanes.clear();
    this.#again.clear();
  }
}
