#!/usr/bin/env -S node --max-semi-space-size=4 --v8-pool-size=1
/**
 * `paravane`. A young generation of 8 MiB instead of 32, and one thread for V8's compilers instead of four, each with
 * memory of its own, keep the process within what the guest has and 200 MB.
 */
import { fileURLToPath } from 'node:url';
import { prepareV8 } from '@paravane/host-node';
import { runScript } from './kept-script.js';

prepareV8();
runScript(fileURLToPath(new URL('command-line.cjs', import.meta.url)));
