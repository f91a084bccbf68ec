/**
 * Permits that were written down as used before they are. What may be taken is what the store counts as taken
 * already: a crash loses at most these, and none is given twice. Only counts; writing is its owner's
 * business.
 *
 * While a new amount is being written, a crash may find the old or the new one: both have to cover what is
 * taken meanwhile.
 */
export class Reserve {
  #size = 0;
  #left = 0;
  #next: { readonly size: number; left: number } | undefined;

  /** Written down and not taken. */
  get left(): number {
    return this.#left;
  }

  get isWriting(): boolean {
    return this.#next !== undefined;
  }

  covers(amount: number): boolean {
    return this.#left >= amount && (this.#next === undefined || this.#next.left >= amount);
  }

  /** Half of it is used: time to write a new amount, so that nobody waits for it later. */
  get isLow(): boolean {
    return this.#next === undefined && this.#left * 2 <= this.#size;
  }

  take(amount: number): void {
    this.#left -= amount;
    if (this.#next !== undefined) this.#next.left -= amount;
  }

  /** Not beyond what is written down: it may have been taken out of an earlier amount. */
  giveBack(amount: number): void {
    this.#left = Math.min(this.#size, this.#left + amount);
    if (this.#next !== undefined) this.#next.left = Math.min(this.#next.size, this.#next.left + amount);
  }

  /** An amount is being written. @returns what to call when it is flushed, or could not be. */
  begin(size: number): (isFlushed: boolean) => void {
    const next = { size, left: size };
    this.#next = next;
    return (isFlushed) => {
      if (this.#next !== next) return;
      this.#next = undefined;
      if (!isFlushed) return;
      this.#size = size;
      this.#left = next.left;
    };
  }

  /** Nothing is reserved any more. */
  clear(): void {
    this.#size = this.#left = 0;
    this.#next = undefined;
  }
}
