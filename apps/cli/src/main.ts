#!/usr/bin/env -S node --max-semi-space-size=4
/**
 * `paravane`. A young generation of 8 MiB instead of 32 keeps the process within what the guest has and 200 MB; the
 * collections that it costs are of what dies at once.
 */
import { prepareV8 } from '@paravane/host-node';
import { launch } from './launch.js';
import { parts } from './parts.js';

prepareV8();
await launch(parts);
