/** Entry of piscina's own threads. */
export { touch, work } from './tasks.js';
export default function noop(): void {}
