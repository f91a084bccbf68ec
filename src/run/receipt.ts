import type { Ticket } from '../broker/broker.js';

/** One accepted task, as its caller holds it. */
export type Receipt = Omit<Ticket, 'onSettled'>;
