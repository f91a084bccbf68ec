/** Hands items over one at a time: who puts one in knows when it is taken. Holds no more than one. */
export class Channel<Item> implements AsyncIterableIterator<Item, undefined> {
  #offer: { readonly item: Item; taken(): void; dropped(error: unknown): void } | undefined;
  #take: ((read: IteratorResult<Item, undefined>) => void) | undefined;
  #isOver = false;
  #dropped: { readonly error: unknown } | undefined;

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next one comes after this was taken. */
  put(item: Item, taken: () => void, dropped: (error: unknown) => void): void {
    const take = this.#take;
    if (this.#dropped !== undefined) dropped(this.#dropped.error);
    else if (take === undefined) this.#offer = { item, taken, dropped };
    else {
      this.#take = undefined;
      take({ done: false, value: item });
      taken();
    }
  }

  /** Nobody takes any more. @returns whether somebody who has put something in is told so. */
  drop(error: unknown): boolean {
    this.end();
    this.#dropped = { error };
    const offer = this.#offer;
    this.#offer = undefined;
    offer?.dropped(error);
    return offer !== undefined;
  }

  /** After what was put in. */
  end(): void {
    this.#isOver = true;
    this.#take?.({ done: true, value: undefined });
  }

  next(): Promise<IteratorResult<Item, undefined>> {
    const offer = this.#offer;
    if (offer !== undefined) {
      this.#offer = undefined;
      offer.taken();
      return Promise.resolve({ done: false, value: offer.item });
    }
    if (this.#isOver) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => {
      this.#take = resolve;
    });
  }

  return(): Promise<IteratorResult<Item, undefined>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }
}
