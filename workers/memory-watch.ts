/** How much memory a thread or child holds, looked at after batches, but not after each of them. */

/** Least time between two looks. */
const MEMORY_EVERY_MS = 100;

/** To be called after each batch; tells the bytes of heap and buffers. */
export function memoryWatch(now: () => number, tell: (bytes: number) => void): () => void {
  let lookedAt = Number.NEGATIVE_INFINITY;
  return () => {
    const at = now();
    if (at - lookedAt < MEMORY_EVERY_MS) return;
    lookedAt = at;
    const { heapUsed, external } = process.memoryUsage();
    // `arrayBuffers` is part of `external`.
    tell(heapUsed + external);
  };
}
