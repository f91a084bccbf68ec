/** An open runtime keeps its process alive like a server does, until it stops or is unref'ed. */
const LONG_MS = 2_147_483_647;

export class KeepAlive {
  #timer: NodeJS.Timeout | undefined = setInterval(() => {}, LONG_MS);

  end(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
