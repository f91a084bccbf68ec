/** Entry of piscina's own threads. */
export { work } from './tasks.js';
export default function noop(): void {}
