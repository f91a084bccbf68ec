/** The memory backend under the conformance suite; tiny windows make it spill into its own tables. */
import { describe, it } from 'vitest';
import { openMemory } from '#src/broker/memory.js';
import { testBackend } from '#src/testing/conformance.js';

testBackend({ describe, it }, 'memory', ({ store: _, ...options }) => openMemory(options));
