/** Hands items over one at a time: who puts one in knows when it is taken. Holds no more than one. */
export class Channel<Item> implements AsyncIterableIterator<Item, undefined> {
  #offer: { readonly item: Item; taken(error?: Error | null): void } | undefined;
  #take: ((read: IteratorResult<Item, undefined>) => void) | undefined;
  #isOver = false;

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next one comes after this was taken. */
  put(item: Item, taken: (error?: Error | null) => void): void {
    const take = this.#take;
    if (take === undefined) {
      this.#offer = { item, taken };
      return;
    }
    this.#take = undefined;
    take({ done: false, value: item });
    taken();
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
